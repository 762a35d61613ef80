package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// authority signs certificates the way cert-manager's CA issuer does.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

var bothUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

// issue returns a certificate and its key as PEM.
func (a *authority) issue(t *testing.T, name string, notAfter time.Time, usages ...x509.ExtKeyUsage) (cert, key []byte) {
	t.Helper()
	k := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-2 * time.Hour),
		NotAfter:     notAfter,
		ExtKeyUsage:  usages,
	}, a.certificate, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func fromPEM(t *testing.T, cert, key, ca []byte) *Current {
	t.Helper()
	c := new(Current)
	if err := c.Set(cert, key, ca); err != nil {
		t.Fatal(err)
	}
	return c
}

// exchange makes one handshake and one round trip, and returns the serving
// certificate's name and what either side had to say against it.
func exchange(t *testing.T, server, client *tls.Config) (string, error) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		_, err = io.Copy(conn, conn)
		served <- err
	}()
	dialer := &tls.Dialer{Config: client}
	conn, err := dialer.DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		return "", errors.Join(err, <-served)
	}
	defer conn.Close()
	tlsConn := conn.(*tls.Conn)
	_, writeErr := conn.Write([]byte("hello"))
	closeErr := tlsConn.CloseWrite()
	answer, readErr := io.ReadAll(conn)
	if err := errors.Join(writeErr, closeErr, readErr, <-served); err != nil {
		return "", err
	}
	if string(answer) != "hello" {
		t.Fatalf("echo answered %q", answer)
	}
	return tlsConn.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func TestMutualHandshake(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	valid := time.Now().Add(time.Hour)
	agent := func(a *authority, trust []byte, name string, until time.Time, usages ...x509.ExtKeyUsage) *Current {
		cert, key := a.issue(t, name, until, usages...)
		return fromPEM(t, cert, key, trust)
	}
	good := agent(ca, ca.pem, "detnet-agent", valid, bothUsages...)
	tests := []struct {
		name           string
		server, client *Current
		wantErr        string
	}{
		{"same authority", good, good, ""},
		{"client of another authority", good, agent(stranger, ca.pem, "detnet-agent", valid, bothUsages...), "unknown authority"},
		{"server of another authority", agent(stranger, ca.pem, "detnet-agent", valid, bothUsages...), good, "unknown authority"},
		{"server under another name", agent(ca, ca.pem, "elsewhere", valid, bothUsages...), good, "not detnet-agent"},
		{"client certificate without the client usage", good, agent(ca, ca.pem, "detnet-agent", valid, x509.ExtKeyUsageServerAuth), "incompatible key usage"},
		{"server certificate without the server usage", agent(ca, ca.pem, "detnet-agent", valid, x509.ExtKeyUsageClientAuth), good, "incompatible key usage"},
		{"expired client", good, agent(ca, ca.pem, "detnet-agent", time.Now().Add(-time.Minute), bothUsages...), "expired"},
		{"server without a certificate", new(Current), good, errNoCertificate.Error()},
		{"client without a certificate", good, new(Current), errNoCertificate.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := exchange(t, tt.server.MutualServerConfig(), tt.client.MutualClientConfig("detnet-agent"))
			if tt.wantErr == "" && err != nil {
				t.Fatal(err)
			}
			if tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Fatalf("error %v, want one with %q", err, tt.wantErr)
			}
		})
	}
}

// What every agent has makes nobody a controller: who has a node has the key that all of them
// share, and may give orders by it to none that knows the controllers by their own. A controller
// is obeyed by agents of before there were two as well.
func TestAnAgentIsNoController(t *testing.T) {
	agents, controllers := newAuthority(t), newAuthority(t)
	until := time.Now().Add(time.Hour)
	cert, key := agents.issue(t, "detnet-agent", until, bothUsages...)
	shared := fromPEM(t, cert, key, agents.pem)
	cert, key = controllers.issue(t, "detnet-controller", until, bothUsages...)
	own := fromPEM(t, cert, key, controllers.pem)
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, controllers.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	agent, err := Callers{Files: []string{file}}.Announce(shared.ServerConfig())
	if err != nil {
		t.Fatal(err)
	}
	controller := Showing(shared.MutualClientConfig("detnet-agent"), own)
	for _, tt := range []struct {
		name           string
		server, client *tls.Config
		obeys          bool
	}{
		{"the controller", agent, controller, true},
		{"another agent", agent, shared.MutualClientConfig("detnet-agent"), false},
		{"the controller, to an older agent", shared.MutualServerConfig(), controller, true},
	} {
		if _, err := exchange(t, tt.server, tt.client); (err == nil) != tt.obeys {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := (Callers{Files: []string{file + " that is not there"}}).Announce(shared.ServerConfig()); err == nil {
		t.Error("an agent begins that obeys nobody")
	}
}

// A client that brings no certificate must not get past a mutual server, and
// one that was given no name to expect must not accept any.
func TestMutualRefusesTheNameless(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "detnet-agent", time.Now().Add(time.Hour), bothUsages...)
	c := fromPEM(t, cert, key, ca.pem)
	if _, err := exchange(t, c.MutualServerConfig(), &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("a client without a certificate was served")
	}
	if _, err := exchange(t, c.MutualServerConfig(), c.MutualClientConfig("")); err == nil {
		t.Error("a server was accepted without a name to check")
	}
}

func TestExpiryIsMeasured(t *testing.T) {
	ca := newAuthority(t)
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	cert, key := ca.issue(t, "detnet-webhook", until)
	for want, c := range map[float64]*Current{float64(until.Unix()): fromPEM(t, cert, key, ca.pem), 0: new(Current)} {
		registry := prometheus.NewPedanticRegistry()
		if err := c.RegisterExpiry(registry, "webhook"); err != nil {
			t.Fatal(err)
		}
		families, err := registry.Gather()
		if err != nil || len(families) != 1 {
			t.Fatalf("gathered %v, %v", families, err)
		}
		if got := families[0].Metric[0].GetGauge().GetValue(); got != want {
			t.Errorf("expiry %v, want %v", got, want)
		}
	}
}

func TestOneWayHandshake(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "detnet-webhook", time.Now().Add(time.Hour), x509.ExtKeyUsageServerAuth)
	server := fromPEM(t, cert, key, ca.pem).ServerConfig()
	roots := x509.NewCertPool()
	roots.AddCert(ca.certificate)
	client := &tls.Config{RootCAs: roots, ServerName: "detnet-webhook"}
	if _, err := exchange(t, server, client); err != nil {
		t.Error(err)
	}
	client.MaxVersion = tls.VersionTLS12
	if _, err := exchange(t, server, client); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
}
