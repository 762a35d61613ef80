// Package apitest starts a real API server for tests.
package apitest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/detnet/detnet/internal/freeport"
)

// patience is how long is waited for what an API server does on a machine that compiles beside the
// tests: envtest waits from 10 to 20 s.
const patience = 3 * time.Minute

// starts is how often a start is tried: for the namespace default envtest waits 5 s, whatever it is told.
const starts = 3

// Begin starts an API server, as prepare changes it, until it is stopped.
func Begin(prepare func(*envtest.Environment)) (env *envtest.Environment, err error) {
	for range starts {
		if env, err = create(); err != nil {
			return nil, err
		}
		prepare(env)
		if _, err = env.Start(); err == nil {
			return env, nil
		}
		_ = env.Stop() // what of it runs already
	}
	return nil, fmt.Errorf("start an API server: %w", err)
}

// create is an API server that has not started, with ports that nobody takes until it listens.
func create() (*envtest.Environment, error) {
	env := &envtest.Environment{ControlPlaneStartTimeout: patience, ControlPlaneStopTimeout: time.Minute}
	env.CRDInstallOptions.MaxTime, env.WebhookInstallOptions.MaxTime = patience, patience
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
	env, err := Begin(func(env *envtest.Environment) {
		for _, flag := range flags {
			name, value, _ := strings.Cut(flag, "=")
			env.ControlPlane.GetAPIServer().Configure().Set(name, value)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	env.Config.QPS = -1
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stop the API server: %v", err)
		}
	})
	return env
}

// Install has an API server know more kinds, and waits until it does.
func Install(t *testing.T, cfg *rest.Config, kinds ...*apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	if _, err := envtest.InstallCRDs(cfg, envtest.CRDInstallOptions{CRDs: kinds, MaxTime: patience}); err != nil {
		t.Fatal(err)
	}
}
