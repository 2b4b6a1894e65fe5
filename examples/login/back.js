// The back button may bring a page from the browser's memory, although the session has ended since.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
