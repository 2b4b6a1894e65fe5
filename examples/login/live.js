const clock = document.querySelector("#clock");
const events = new EventSource("/live");
events.onmessage = (event) => { clock.textContent = event.data; };
events.addEventListener("signed-out", (event) => {
  events.close(); // a browser would connect again, and get 401
  clock.textContent = event.data;
});
