package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/internal/freeport"
	"github.com/detnet/detnet/internal/program"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/live"
)

// Who would rather have no webhook than one without the site's policy says so.
func TestBrokenPolicyDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "site.rego"), []byte("package detnet.site\n\nclass := oops\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err := serve(t.Context(), options{policyDir: dir, policyFallback: fallbackNone}, slog.New(slog.NewTextHandler(&out, nil)))
	if err == nil || !strings.Contains(err.Error(), "site.rego:3") || !strings.Contains(err.Error(), "oops") {
		t.Errorf("error %v, want file, line and reason", err)
	}
	if code := program.Run("detnet-webhook", []string{"--policy-dir=" + dir, "--policy-fallback=none", "--cert-dir=" + dir}, new(options)); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

// A pipe or a device would keep the webhook, or each handshake of it, waiting.
func TestPipesAreNoFiles(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{
		"--client-ca-files=/none,", "--policy-bundle-key=", "--policy-bundle-token-file=", "--policy-bundle-ca-file=", "--policy-bundle-cert-file=", "--policy-bundle-cert-key-file=",
	} {
		_, err := program.Parse("detnet-webhook", []string{"--cert-dir=/nowhere", flag + pipe}, new(options), io.Discard)
		if name, _, _ := strings.Cut(flag, "="); err == nil || !strings.Contains(err.Error(), name+": "+pipe+" is a pipe") {
			t.Errorf("%s: %v", flag, err)
		}
	}
	if err := os.Symlink(pipe, filepath.Join(filepath.Dir(pipe), "tls.crt")); err != nil {
		t.Fatal(err)
	}
	if _, err := certs.OpenDir(filepath.Dir(pipe)); err == nil || !strings.Contains(err.Error(), "is a pipe") {
		t.Errorf("--cert-dir: %v", err)
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
		"--cert-dir=/nowhere --policy-bundle=http://127.0.0.1 --policy-bundle-key=/k --policy-fallback=x":           2,
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

// The program as it is wired, begun with a policy that is broken: while another replica is ready,
// which may have a good one, it stands by; when that goes the default set decides, until the site's
// policy is mended. It has a certificate of its own, and drains on the way out.
func TestServe(t *testing.T) {
	env := apitest.Start(t)
	t.Setenv("KUBECONFIG", kubeconfig(t, env))
	t.Setenv("POD_NAME", "me")
	c, err := client.New(env.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "tls"}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "factory"}}); err != nil {
		t.Fatal(err)
	}
	another := anotherReplica(t, c)

	site := filepath.Join(t.TempDir(), "site.rego")
	write := func(content string) {
		if err := os.WriteFile(site, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("package detnet.site\n\nclass := oops\n")
	port, err := freeport.Port()
	if err != nil {
		t.Fatal(err)
	}
	o := options{
		namespace: "default", certSecret: "tls", certIssuer: "self", service: "detnet-webhook", webhookConfig: "detnet-webhook",
		port: port, metricsAddr: freeport.Addr(t), healthAddr: freeport.Addr(t), policyDir: filepath.Dir(site), policyFallback: fallbackDefault,
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, o, slog.New(slog.DiscardHandler)) }()
	answers := func(path string) (code int) {
		if r, err := http.Get("http://" + o.healthAddr + path); err == nil {
			r.Body.Close()
			code = r.StatusCode
		}
		return code
	}
	await.Until(t, "it has started, and stands by", func() bool {
		return answers("/readyz?exclude=policy") == http.StatusOK && answers("/readyz") == http.StatusInternalServerError
	})
	if err := c.Delete(t.Context(), another, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "it is ready", func() bool { return answers("/readyz") == http.StatusOK })
	if s := statusOf(t, o); s.Hash != policies.Default().Hash() || s.Instead != "default set" || !strings.Contains(s.LastError, "site.rego:3") {
		t.Errorf("status %+v", s)
	}
	await.Until(t, "a pod is stamped by the default set", func() bool { return stamped(t, o) == "high" })
	figures := get(t, o, "/metrics")
	for _, want := range []string{
		`detnet_certificate_expiry_timestamp_seconds\{certificate="webhook"\} 1\.\d+e\+09`,
		`detnet_policy_stand_in\{instead="default set"\} 1`,
	} {
		if !regexp.MustCompile(want).Match(figures) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	var events eventsv1.EventList
	await.Until(t, "an Event says so", func() bool {
		return c.List(t.Context(), &events) == nil && slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool { return e.Reason == "PolicyStandIn" })
	})
	write("package detnet.site\n\nclass := \"best-effort\"\n")
	await.Until(t, "the site's policy is in force", func() bool { return statusOf(t, o).Instead == "" })
	await.Until(t, "and stamped by it", func() bool { return stamped(t, o) == "best-effort" })
	cancel()
	if err := <-done; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// kubeconfig is the file of a user who may do all.
func kubeconfig(t *testing.T, env *envtest.Environment) string {
	t.Helper()
	user, err := env.AddUser(envtest.User{Name: "webhook", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// anotherReplica is one that is ready.
func anotherReplica(t *testing.T, c client.Client) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "another", Labels: map[string]string{
			"app.kubernetes.io/name": "detnet", "app.kubernetes.io/component": "webhook",
		}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "webhook", Image: "none.invalid/none"}}},
	}
	if err := c.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if err := c.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func get(t *testing.T, o options, path string) []byte {
	t.Helper()
	r, err := http.Get("http://" + o.metricsAddr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func statusOf(t *testing.T, o options) live.Status {
	t.Helper()
	var status struct{ Policy live.Status }
	if err := json.Unmarshal(get(t, o, "/status"), &status); err != nil {
		t.Fatal(err)
	}
	return status.Policy
}

// stamped is the class that a pod that asks for high comes out with, "" where the machine had no time.
func stamped(t *testing.T, o options) string {
	t.Helper()
	const review = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","namespace":"factory",
		"kind":{"version":"v1","kind":"Pod"},"resource":{"version":"v1","resource":"pods"},
		"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"detnet.dev/priority":"high"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`
	through := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	r, err := through.Post(fmt.Sprintf("https://127.0.0.1:%d/mutate", o.port), "application/json", strings.NewReader(review))
	if err != nil {
		t.Log(err) // a connection is given up that takes too long
		return ""
	}
	defer r.Body.Close()
	var answer admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || answer.Response == nil {
		t.Logf("answer %+v, %v", answer, err)
		return ""
	}
	found := regexp.MustCompile(`detnet.dev(?:/|~1)class"(?::|,"value":)"([a-z-]+)"`).FindSubmatch(answer.Response.Patch)
	if found == nil {
		return ""
	}
	return string(found[1])
}
