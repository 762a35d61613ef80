package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/internal/freeport"
	"github.com/detnet/detnet/internal/program"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/live"
)

func TestBrokenPolicyDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "site.rego"), []byte("package detnet.site\n\nclass := oops\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err := serve(t.Context(), options{policyDir: dir}, slog.New(slog.NewTextHandler(&out, nil)))
	if err == nil || !strings.Contains(err.Error(), "site.rego:3") || !strings.Contains(err.Error(), "oops") {
		t.Errorf("error %v, want file, line and reason", err)
	}
	if code := program.Run("detnet-webhook", []string{"--policy-dir=" + dir, "--cert-dir=" + dir}, new(options)); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

// A key that is none is told by the name of its file.
func TestBadBundleKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bundle.pub")
	if err := os.WriteFile(file, []byte("ssh-rsa AAAA"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openPolicy(options{bundleURL: "https://policies.example/b", bundleKey: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v, want the file's name", err)
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]int{
		"--port=x":                           2,
		"":                                   2, // a self-managed certificate without a namespace
		"--cert-dir=/nowhere --log-level=x":  2,
		"--cert-dir=/nowhere --log-format=x": 2,
		"--cert-dir=/nowhere --policy-bundle=http://127.0.0.1":                                                      2,
		"--cert-dir=/nowhere --policy-bundle=http://127.0.0.1 --policy-dir=/etc":                                    2,
		"--cert-dir=/nowhere --policy-bundle=http://127.0.0.1 --policy-bundle-key=/k --policy-bundle-token-file=/t": 2,
		"--cert-dir=/nowhere --policy-bundle=http://127.0.0.1 --policy-bundle-key=/k --policy-bundle-fallback=x":    2,
		"--cert-dir=/nowhere --policy-bundle=https:///b --policy-bundle-key=/k":                                     2,
		"--cert-dir=/nowhere --policy-bundle=http://me:secret@host/b --policy-bundle-key=/k":                        2,
		"--cert-dir=/nowhere --policy-bundle=ftp://host/b --policy-bundle-key=/k":                                   2,
		"--cert-dir=/nowhere --policy-bundle=https://host/b --policy-bundle-key=/k --policy-bundle-interval=0s":     2,
		"--cert-dir=/nowhere --policy-bundle=https://host/b --policy-bundle-key=/k --policy-bundle-interval=25h":    2,
		"--help":                   0,
		"WORD --cert-dir=/nowhere": 2,
	} {
		if code := program.Run("detnet-webhook", strings.Fields(args), new(options)); code != want {
			t.Errorf("%q: exit code %d, want %d", args, code, want)
		}
	}
}

// The program as it is wired: it becomes ready with a certificate of its own,
// shows its policy and drains on the way out.
func TestServe(t *testing.T) {
	env := apitest.Start(t)
	config := env.Config
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	user, err := env.AddUser(envtest.User{Name: "webhook", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kubeconfig, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig)
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	empty := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "tls"}}
	if err := c.Create(t.Context(), empty); err != nil {
		t.Fatal(err)
	}

	port, err := freeport.Port()
	if err != nil {
		t.Fatal(err)
	}
	o := options{
		namespace: "default", certSecret: "tls", certIssuer: "self", service: "detnet-webhook", webhookConfig: "detnet-webhook",
		port: port, metricsAddr: freeport.Addr(t), healthAddr: freeport.Addr(t), policyDir: t.TempDir(),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, o, slog.New(slog.DiscardHandler)) }()
	await.Until(t, "it is ready", func() bool {
		r, err := http.Get("http://" + o.healthAddr + "/readyz")
		if err == nil {
			r.Body.Close()
		}
		return err == nil && r.StatusCode == http.StatusOK
	})
	r, err := http.Get("http://" + o.metricsAddr + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	var status struct{ Policy live.Status }
	if err := json.Unmarshal(body, &status); err != nil || status.Policy.Hash != policies.Default().Hash() {
		t.Errorf("status %s: %v", body, err)
	}
	scrape, err := http.Get("http://" + o.metricsAddr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer scrape.Body.Close()
	figures, _ := io.ReadAll(scrape.Body)
	if !regexp.MustCompile(`detnet_certificate_expiry_timestamp_seconds\{certificate="webhook"\} 1\.\d+e\+09`).Match(figures) {
		t.Error("the metrics do not tell when the certificate expires")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}
