// Package kube asks the cluster's API server from inside a pod. The agent reads
// a few fields of two kinds of objects; client-go, made for everything else as
// well, would be more than a quarter of the program and of its memory, on every
// node and in both roles.
package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"
)

// serviceAccount is where the kubelet puts what a pod needs to ask.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// How long a connection may be silent, and how long the API server may take to
// answer a ping then: a watch says nothing for minutes, and must not outlive its
// peer for as long.
const (
	silence    = 30 * time.Second
	pingAnswer = 15 * time.Second
	dialling   = 10 * time.Second
)

// Client asks one API server.
type Client struct {
	base  string
	http  http.Client
	token string // file; the kubelet renews it, so that it is read for each request
}

// InCluster returns a client with the rights of the pod's service account.
func InCluster() (*Client, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod")
	}
	bundle, err := os.ReadFile(path.Join(serviceAccount, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the CA of the API server: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("%s/ca.crt: no certificate in PEM form", serviceAccount)
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialling}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: dialling,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: silence, PingTimeout: pingAnswer},
	}
	return New("https://"+net.JoinHostPort(host, port), transport, path.Join(serviceAccount, "token")), nil
}

// New returns a client of the API server at base. Without a tokenFile it is
// nobody in particular.
func New(base string, transport http.RoundTripper, tokenFile string) *Client {
	return &Client{base: strings.TrimSuffix(base, "/"), http: http.Client{Transport: transport}, token: tokenFile}
}

// StatusError is the refusal of a request.
type StatusError struct {
	Code    int    // of HTTP
	Message string // for people; may be empty
}

func (e *StatusError) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("the API server answers %d %s: %s", e.Code, http.StatusText(e.Code), e.Message), ": ")
}

// Get reads a resource by its path, as JSON. The caller closes the answer. A refusal is
// a *StatusError.
func (c *Client) Get(ctx context.Context, resource string, query url.Values) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+resource+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "detnet-agent")
	if c.token != "" {
		token, err := os.ReadFile(c.token)
		if err != nil {
			return nil, fmt.Errorf("read the service account's token: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	return nil, refusal(response)
}

// refusal reads the Status object that comes with a refusal, if one does.
func refusal(response *http.Response) *StatusError {
	refused := &StatusError{Code: response.StatusCode}
	var status struct {
		Message string `json:"message"`
	}
	const longest = 64 << 10
	if json.NewDecoder(io.LimitReader(response.Body, longest)).Decode(&status) == nil {
		refused.Message = status.Message
	}
	return refused
}
