// Package apitest starts a real API server for tests.
package apitest

import (
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/detnet/detnet/internal/freeport"
)

// New is an API server that has not started. A machine that compiles beside the
// tests is slow, so it has longer than the 20 s that envtest gives it, and ports that
// nobody takes until it listens.
func New() (*envtest.Environment, error) {
	env := &envtest.Environment{ControlPlaneStartTimeout: 3 * time.Minute, ControlPlaneStopTimeout: time.Minute}
	server, etcd, err := ports()
	if err != nil {
		return nil, err
	}
	serving := &env.ControlPlane.GetAPIServer().SecureServing
	serving.Address, serving.Port = "127.0.0.1", strconv.Itoa(server)
	env.ControlPlane.Etcd = &envtest.Etcd{URL: &url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(etcd))}}
	return env, nil
}

func ports() (server, etcd int, err error) {
	if server, err = freeport.Port(); err != nil {
		return 0, 0, err
	}
	etcd, err = freeport.Port()
	return server, etcd, err
}

// Start starts an API server without kubelets, controllers or scheduler, stopped
// when the test ends. Without KUBEBUILDER_ASSETS, the directory with etcd and
// kube-apiserver, the test is skipped; in CI that is a failure. Each of flags is
// one of kube-apiserver's, "name=value".
func Start(t *testing.T, flags ...string) *envtest.Environment {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("KUBEBUILDER_ASSETS is not set: CI must run the API-server tests")
		}
		t.Skip("KUBEBUILDER_ASSETS is not set: it names the directory with etcd and kube-apiserver")
	}
	env, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range flags {
		name, value, _ := strings.Cut(flag, "=")
		env.ControlPlane.GetAPIServer().Configure().Set(name, value)
	}
	cfg, err := env.Start()
	if err != nil {
		t.Fatalf("start an API server: %v", err)
	}
	cfg.QPS = -1
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stop the API server: %v", err)
		}
	})
	return env
}
