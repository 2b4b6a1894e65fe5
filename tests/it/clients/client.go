// A client of the demo site: its address and its certificate are the arguments.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
)

var site = os.Args[1]

// Who keeps cookies in a jar, or none.
func client(jar http.CookieJar) *http.Client {
	pem, err := os.ReadFile(os.Args[2])
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &http.Client{
		Jar: jar,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots},
			ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// What an answer has, after what it was asked for.
func tell(what string, response *http.Response, withBody bool) string {
	if response.ProtoMajor != 2 {
		log.Fatal(response.Proto)
	}
	body, err := io.ReadAll(response.Body)
	check(err)
	answer := string(body)
	var me struct{ User string }
	if json.Unmarshal(body, &me) == nil && me.User != "" {
		answer = me.User
	}
	if !withBody {
		answer = ""
	}
	return strings.TrimSpace(fmt.Sprintln(what, response.StatusCode, answer))
}

func main() {
	jar, err := cookiejar.New(nil)
	check(err)
	visitor := client(jar)
	get := func(what, path string, withBody bool) {
		response, err := visitor.Get(site + path)
		check(err)
		fmt.Println(tell(what, response, withBody))
	}
	post := func(what, path string, form url.Values, withBody bool) {
		response, err := visitor.PostForm(site+path, form)
		check(err)
		fmt.Println(tell(what, response, withBody))
	}

	get("a stranger asks who it is:", "/me", false)
	account := url.Values{"user": {"alice"}, "password": {"wonderland"}}
	post("logs in:", "/login", account, false)
	address, err := url.Parse(site)
	check(err)
	kept := jar.Cookies(address)
	get("asks who it is:", "/me", true)
	post("counts:", "/count", nil, true)
	get("asks for the count:", "/count", true)
	replay := func() {
		request, err := http.NewRequest("GET", site+"/me", nil)
		check(err)
		request.AddCookie(kept[0])
		response, err := client(nil).Do(request)
		check(err)
		fmt.Println(tell("asks with a copy of the cookie:", response, false))
	}
	replay()
	post("logs out:", "/logout", nil, false)
	if left := jar.Cookies(address); len(kept) != 1 || len(left) != 0 {
		log.Fatal("cookies in the jar, before the logout and after it: ", len(kept), len(left))
	}
	get("asks who it is:", "/me", false)
	replay()
}
