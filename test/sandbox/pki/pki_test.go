package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/detnet/detnet/test/sandbox/assets"
	"github.com/detnet/detnet/test/sandbox/instance"
)

func TestWrite(t *testing.T) {
	s := &instance.Spec{Name: "a", Nodes: 2, Cache: assets.Cache(t.TempDir()), APIServer: "127.0.0.1:12345"}
	now := time.Now()
	if err := Write(s, now); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if ca, err := os.ReadFile(filepath.Join(s.PKI(), CAFile)); err != nil || !roots.AppendCertsFromPEM(ca) {
		t.Fatal("the authority's certificate can't be read", err)
	}

	server := parse(t, filepath.Join(s.PKI(), APIServer+".crt"))
	for _, host := range []string{"127.0.0.1", "10.77.0.1", "10.96.0.1", "kubernetes.default.svc", "localhost"} {
		if _, err := server.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now}); err != nil {
			t.Errorf("the API server as %s: %v", host, err)
		}
	}
	if _, err := server.Verify(x509.VerifyOptions{Roots: roots, DNSName: "10.77.0.11", CurrentTime: now}); err == nil {
		t.Error("the API server's certificate is good for a node's address")
	}

	s.IPv6First = true
	if got := apiServerHosts(s); !slices.Contains(got, "fd77::1") || !slices.Contains(got, "fd77:96::1") || !slices.Contains(got, "10.96.0.1") {
		t.Errorf("with both families the API server is %v", got)
	}
	s.IPv6First = false

	for part, want := range map[string]struct {
		user   string
		groups []string
	}{
		Admin:             {"sandbox-admin", []string{"system:masters"}},
		ControllerManager: {"system:kube-controller-manager", nil},
		Scheduler:         {"system:kube-scheduler", nil},
		Proxy:             {"system:kube-proxy", nil},
		"node1":           {"system:node:node1", []string{"system:nodes"}},
		"node2":           {"system:node:node2", []string{"system:nodes"}},
	} {
		config, err := clientcmd.BuildConfigFromFlags("", s.Credentials(part))
		if err != nil {
			t.Fatal(err)
		}
		if config.Host != "https://10.77.0.1:6443" {
			t.Errorf("%s goes to %s", part, config.Host)
		}
		pair, err := tls.X509KeyPair(config.CertData, config.KeyData)
		if err != nil {
			t.Fatal(err)
		}
		usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: usage, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", part, err)
		}
		if got := pair.Leaf.Subject; got.CommonName != want.user || !slices.Equal(got.Organization, want.groups) {
			t.Errorf("%s speaks as %s, want %v", part, got, want)
		}
	}

	host, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig())
	if err != nil || host.Host != "https://127.0.0.1:12345" {
		t.Errorf("on the host the API server is at %v, %v", host, err)
	}
}

// Keys are as good as passwords of root on the sandbox.
func TestFilesAreTheirOwnersOnly(t *testing.T) {
	s := &instance.Spec{Name: "a", Nodes: 1, Cache: assets.Cache(t.TempDir()), APIServer: "127.0.0.1:1"}
	if err := Write(s, time.Now()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(s.PKI(), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, s.Kubeconfig()) {
		info, err := os.Stat(f)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v, %v", f, info.Mode(), err)
		}
	}
}

func parse(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
