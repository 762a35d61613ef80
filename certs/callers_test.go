package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/certs/certstest"
)

// authority signs certificates of its own.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a authority) issue(t *testing.T, name string, from, to time.Time, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}, NotBefore: from, NotAfter: to,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

// Whoever can't show a certificate of the authority, valid now, for clients and
// under an accepted name, gets no answer; the authority may change while it runs.
func TestCallers(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	now := time.Now()
	from, to := now.Add(-time.Hour), now.Add(time.Hour)
	file := filepath.Join(t.TempDir(), "ca.crt")
	callers := certs.Callers{Files: []string{file, file + ".missing"}, Names: []string{"apiserver"}}
	server := callers.Require(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{theirs.issue(t, "server", from, to, x509.ExtKeyUsageServerAuth)}})
	call := func(certificates ...tls.Certificate) error {
		return certstest.Handshake(t, server, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, Certificates: certificates}) //nolint:gosec // the server judges here
	}
	client := x509.ExtKeyUsageClientAuth
	good := ours.issue(t, "apiserver", from, to, client)
	if call(good) == nil {
		t.Error("answered without any authority")
	}
	if err := os.WriteFile(file, ours.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := call(good); err != nil {
		t.Errorf("the API server is refused: %v", err)
	}
	for name, bad := range map[string][]tls.Certificate{
		"no certificate":      nil,
		"another authority's": {theirs.issue(t, "apiserver", from, to, client)},
		"another name":        {ours.issue(t, "somebody", from, to, client)},
		"expired":             {ours.issue(t, "apiserver", from, now.Add(-time.Minute), client)},
		"a server's":          {ours.issue(t, "apiserver", from, to, x509.ExtKeyUsageServerAuth)},
	} {
		if call(bad...) == nil {
			t.Errorf("%s: answered", name)
		}
	}
	if err := os.WriteFile(file, theirs.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	if call(good) == nil {
		t.Error("answered after the authority was replaced")
	}
}

// Behind Handler the same count, and who shows nothing is told so; other pages of
// the server are everybody's.
func TestCallersOfSomePages(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, ours.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	callers := certs.Callers{Files: []string{file}}
	mux := http.NewServeMux()
	mux.Handle("/metrics", callers.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	server := httptest.NewUnstartedServer(mux)
	server.TLS = callers.Ask(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{theirs.issue(t, "server", from, to, x509.ExtKeyUsageServerAuth)}})
	server.StartTLS()
	defer server.Close()
	status := func(path string, certificates ...tls.Certificate) int {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certificates}}} //nolint:gosec // the server judges here
		r, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		return r.StatusCode
	}
	usage := x509.ExtKeyUsageClientAuth
	for name, tt := range map[string]struct {
		path string
		with []tls.Certificate
		want int
	}{
		"a scraper":           {"/metrics", []tls.Certificate{ours.issue(t, "prometheus", from, to, usage)}, http.StatusOK},
		"nobody":              {"/metrics", nil, http.StatusForbidden},
		"a stranger":          {"/metrics", []tls.Certificate{theirs.issue(t, "prometheus", from, to, usage)}, http.StatusForbidden},
		"an expired scraper":  {"/metrics", []tls.Certificate{ours.issue(t, "prometheus", from, from.Add(time.Minute), usage)}, http.StatusForbidden},
		"a kubelet":           {"/healthz", nil, http.StatusOK},
		"a kubelet that asks": {"/metrics", nil, http.StatusForbidden},
	} {
		if got := status(tt.path, tt.with...); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}
