package promql

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/detnet/detnet/internal/plainfile"
)

// secured is a Prometheus server that has a certificate and wants a token, both
// of which can be replaced.
type secured struct {
	*httptest.Server
	token       atomic.Pointer[string]
	certificate atomic.Pointer[tls.Certificate]
	tells       bool // repeats what it was sent
}

func newSecured(t *testing.T, token string) *secured {
	s := &secured{}
	s.token.Store(&token)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer "+*s.token.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			if s.tells {
				fmt.Fprintf(w, `{"status":"error","error":"no such token: %s"}`, got)
			}
			return
		}
		fmt.Fprint(w, vector("0.002"))
	}))
	s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*s.certificate.Load()}}, nil
	}}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.certificate.Store(newCertificate(t))
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// newCertificate is for 127.0.0.1 and vouches for itself.
func newCertificate(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (s *secured) caPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.certificate.Load().Certificate[0]}))
}

// config asks s with the files of a folder, which are written here.
func (s *secured) config(t *testing.T, token, ca string) Config {
	c, dir := DefaultConfig(), t.TempDir()
	c.Timeout = 20 * time.Second
	c.URL, c.TokenFile, c.CAFile = s.URL, filepath.Join(dir, "token"), filepath.Join(dir, "ca.crt")
	put(t, c.TokenFile, token)
	put(t, c.CAFile, ca)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ask asks once, as the poller does.
func ask(t *testing.T, p *Poller) error {
	t.Helper()
	d, err := p.once(t.Context(), p.config.Load(), parsed(t, "x"))
	if err == nil && d != 2*time.Millisecond {
		t.Errorf("the answer is %v, want 2ms", d)
	}
	return err
}

func TestTokenAndCAAreReadAnew(t *testing.T) {
	s := newSecured(t, "first")
	c := s.config(t, "first\n", s.caPEM())
	p := New(c, discard, newRegistry())
	defer p.client.CloseIdleConnections()
	if err := ask(t, p); err != nil {
		t.Fatalf("asked with token and CA: %v", err)
	}

	second := "second"
	s.token.Store(&second)
	if err := ask(t, p); err == nil {
		t.Error("the server took a token that it has withdrawn")
	}
	put(t, c.TokenFile, second)
	if err := ask(t, p); err != nil {
		t.Errorf("after the token was rotated: %v", err)
	}

	old := s.caPEM()
	s.certificate.Store(newCertificate(t))
	put(t, c.CAFile, s.caPEM())
	if err := ask(t, p); err != nil {
		t.Errorf("after the certificates were rotated: %v", err)
	}
	put(t, c.CAFile, old)
	if err := ask(t, p); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("trusting only another CA: %v, want its certificate refused", err)
	}
	c.CAFile = ""
	p.Set(c)
	if err := ask(t, p); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("trusting the system's roots alone: %v, want its certificate refused", err)
	}
}

func TestNoSecretInErrorsAndLogs(t *testing.T) {
	const secret = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0"
	s := newSecured(t, "another")
	s.tells = true
	for name, tt := range map[string]struct {
		token, ca string // "-": no such file
		says      string
	}{
		"refused":        {secret, s.caPEM(), "401 Unauthorized (the token of prometheus.tokenFile is not accepted): refused: no such token: Bearer …"},
		"two lines":      {secret + "\n" + secret, s.caPEM(), "holds more than a token"},
		"empty":          {" \n", s.caPEM(), "is empty"},
		"absent":         {"-", s.caPEM(), "read prometheus.tokenFile: stat"},
		"too large":      {strings.Repeat(secret, plainfile.Most/len(secret)+1), s.caPEM(), "larger than"},
		"CA is no PEM":   {secret, secret, "holds no certificate in PEM"},
		"CA is empty":    {secret, "", "is empty"},
		"CA is not read": {secret, "-", "read prometheus.caFile: stat"},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.config(t, tt.token, tt.ca)
			for path, content := range map[string]string{c.TokenFile: tt.token, c.CAFile: tt.ca} {
				if content == "-" {
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
				}
			}
			var log bytes.Buffer
			p := New(c, slog.New(slog.NewTextHandler(&log, nil)), newRegistry())
			ctx, cancel := context.WithCancel(t.Context())
			q := parsed(t, "x")
			p.Ask(ctx, []Wanted{{q, "shop", "app"}})
			var a Answer
			for a.Error == "" || strings.Contains(a.Error, "not answered yet") {
				a = p.Answer(q.Text, time.Now())
				time.Sleep(time.Millisecond)
			}
			cancel()
			p.Wait()
			if !strings.Contains(a.Error, tt.says) {
				t.Errorf("error %q, want %q in it", a.Error, tt.says)
			}
			for where, text := range map[string]string{"error": a.Error, "log": log.String()} {
				if strings.Contains(text, secret) {
					t.Errorf("the token is in the %s: %s", where, text)
				}
			}
		})
	}
}

func TestAServerThatWantsATokenIsSaidTo(t *testing.T) {
	s := newSecured(t, "secret")
	c := s.config(t, "secret", s.caPEM())
	c.TokenFile = ""
	p := New(c, discard, newRegistry())
	defer p.client.CloseIdleConnections()
	if err := ask(t, p); err == nil || !strings.Contains(err.Error(), "401 Unauthorized (set prometheus.tokenFile)") {
		t.Errorf("asked without a token: %v", err)
	}
}

func TestSecretsNeedHTTPS(t *testing.T) {
	for _, tt := range []struct{ url, token, ca, says string }{
		{"https://prometheus:9091", "/etc/detnet/prometheus/token", "/etc/detnet/prometheus/ca.crt", ""},
		{"HTTPS://[fe80::1%25eth0]:9091", "/token", "/ca.crt", ""},
		{"https://prometheus:9091", "token", "", `tokenFile: "token" must be empty or an absolute path`},
		{"http://prometheus:9090", "/token", "", "tokenFile: url must be an https URL"},
		{"http://prometheus:9090", "", "/ca.crt", "caFile: url must be an https URL"},
		{"", "/token", "", "tokenFile: url must be an https URL"},
	} {
		c := DefaultConfig()
		c.URL, c.TokenFile, c.CAFile = tt.url, tt.token, tt.ca
		err := c.Validate()
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%+v: %v, want %q", tt, err, tt.says)
		}
	}
}
