package live

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"k8s.io/client-go/transport"
)

// Bounds of how often a bundle is looked for.
const (
	LeastEvery = time.Second
	MostEvery  = 24 * time.Hour
)

// ValidURL reports whether a bundle may be at a URL: credentials are in files, which no log
// and no list of processes shows.
func ValidURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil
}

// Access is what a bundle's server wants to see, as files in PEM form; "" is
// none. They are read again when they change.
type Access struct {
	TokenFile         string // bearer token (RFC 6750)
	CAFile            string // authorities that vouch for the server, instead of the system's
	CertFile, KeyFile string // client certificate
}

// Secret reports whether a request shows who asks.
func (a Access) Secret() bool { return a.TokenFile != "" || a.CertFile != "" }

// maxFetch bounds a request with its answer.
const maxFetch = 30 * time.Second

// Client returns a client that shows what Access holds, to the server that it was
// given for and to no other one that this refers it to.
func (a Access) Client() (*http.Client, error) {
	if (a.CertFile == "") != (a.KeyFile == "") {
		return nil, errors.New("policy bundle: a client certificate and its key go together")
	}
	through, err := transport.New(&transport.Config{
		BearerTokenFile: a.TokenFile,
		TLS:             transport.TLSConfig{CAFile: a.CAFile, CertFile: a.CertFile, KeyFile: a.KeyFile, ReloadTLSFiles: true, ReloadCAFiles: a.CAFile != ""},
	})
	if err != nil {
		return nil, fmt.Errorf("policy bundle: prepare the connection: %w", err)
	}
	return &http.Client{Timeout: maxFetch, Transport: through, CheckRedirect: a.redirect}, nil
}

func (a Access) redirect(to *http.Request, via []*http.Request) error {
	const most = 5
	if len(via) >= most {
		return fmt.Errorf("stopped after %d redirects", most)
	}
	if from := via[0].URL; a.Secret() && (to.URL.Host != from.Host || to.URL.Scheme != from.Scheme) {
		return fmt.Errorf("redirected to %s://%s, which the credentials are not for: give the URL of the bundle itself", to.URL.Scheme, to.URL.Host)
	}
	return nil
}
