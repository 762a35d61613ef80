// Command pod is what the sandbox's own tests run in pods.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		serve()
	}
	switch os.Args[1] {
	case "get":
		fetch(http.DefaultClient, os.Args[2], "")
	case "api":
		api(os.Args[2])
	}
}

// serve answers every request with the pod's name.
func serve() {
	name, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	log.Println("serving as", name)
	log.Fatal(http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, name) // the client is gone: nobody to tell
	})))
}

// api asks the API server the way client-go does inside a pod.
func api(path string) {
	ca, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		log.Fatal(err)
	}
	token, err := os.ReadFile(account + "token")
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	host := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	fetch(client, "https://"+host+path, string(token))
}

func fetch(client *http.Client, url, token string) {
	client.Timeout = 5 * time.Second
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		log.Fatal(response.Status, string(body), err)
	}
	fmt.Print(string(body))
}
