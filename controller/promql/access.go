package promql

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/detnet/detnet/internal/plainfile"
)

// bearer reads the token that the server wants, "" where none is configured.
// It is read for each request: mounted tokens are replaced before they expire.
func bearer(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	content, err := plainfile.Read(path)
	if err != nil {
		return "", fmt.Errorf("read prometheus.tokenFile: %w", err)
	}
	token := strings.TrimSpace(string(content))
	if token == "" {
		return "", fmt.Errorf("read prometheus.tokenFile: %s is empty", path)
	}
	for _, r := range token {
		if r <= ' ' || r > '~' {
			return "", fmt.Errorf("read prometheus.tokenFile: %s holds more than a token: spaces, lines or letters that no token has", path)
		}
	}
	return token, nil
}

// transport connects to servers whose certificate the CA file vouches for, or
// one of the system's where there is none. The file is read for each request:
// connections are made anew once it has changed.
type transport struct {
	caFile func() string

	mu      sync.Mutex
	roots   []byte // of the CA file; nil: the system's
	current *http.Transport
}

func newTransport(caFile func() string) *transport {
	return &transport{caFile: caFile, current: http.DefaultTransport.(*http.Transport).Clone()}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	to, err := t.trusting(t.caFile())
	if err != nil {
		return nil, fmt.Errorf("read prometheus.caFile: %w", err)
	}
	return to.RoundTrip(r)
}

func (t *transport) trusting(path string) (*http.Transport, error) {
	var roots []byte
	if path != "" {
		content, err := plainfile.Read(path)
		if err != nil {
			return nil, err
		}
		if len(content) == 0 {
			return nil, fmt.Errorf("%s is empty", path)
		}
		roots = content
	}
	if current, same := t.with(roots); same {
		return current, nil
	}
	next := http.DefaultTransport.(*http.Transport).Clone()
	if roots != nil {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(roots) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", path)
		}
		next.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	t.replace(roots, next).CloseIdleConnections()
	return next, nil
}

// with returns the transport in use, and whether it trusts these roots.
func (t *transport) with(roots []byte) (current *http.Transport, same bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current, bytes.Equal(roots, t.roots)
}

func (t *transport) replace(roots []byte, next *http.Transport) (before *http.Transport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, t.roots, t.current = t.current, roots, next
	return before
}

// CloseIdleConnections is what http.Client looks for.
func (t *transport) CloseIdleConnections() {
	current, _ := t.with(nil)
	current.CloseIdleConnections()
}
