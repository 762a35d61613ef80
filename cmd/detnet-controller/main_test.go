package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/config"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/internal/freeport"
	"github.com/detnet/detnet/internal/logtest"
	"github.com/detnet/detnet/internal/program"
)

// TestServe runs the program as it is wired, from outside of a cluster.
func TestServe(t *testing.T) {
	env := apitest.Start(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, env.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(env.Config)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "detnet-agent-tls"}}
	if _, err := client.CoreV1().Secrets("default").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	public := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "detnet-controller-tls"}}
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), public, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	static := filepath.Join(t.TempDir(), "critical-apps.yaml")
	write := func(text string) { // as a whole, or it may be read when it is empty
		err := os.WriteFile(static+".next", []byte(text), 0o600)
		if err == nil {
			err = os.Rename(static+".next", static)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("critical_apps: [{name: plc, service: 192.0.2.7, port: 5201, max_jitter_ms: 1}]")
	t.Setenv("POD_NAME", "detnet-controller-0")
	var o options
	_, err := program.Parse("detnet-controller", []string{
		"--kubeconfig=" + kubeconfig, "--namespace=default", "--static-targets=" + static,
		"--metrics-addr=" + freeport.Addr(t), "--health-addr=" + freeport.Addr(t), "--ui-addr=" + freeport.Addr(t),
	}, &o, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, o, logtest.Of(t)) }()

	await.Until(t, "ready", func() bool { code, _ := get(o.healthAddr, "/readyz"); return code == http.StatusOK })
	apps := func(names ...string) bool {
		_, body := get(o.uiAddr, "/status")
		var s status.Status
		if json.Unmarshal([]byte(body), &s) != nil || !s.Leader || s.Law != "adaptive" {
			return false
		}
		return slices.EqualFunc(s.Apps, names, func(a status.App, name string) bool { return a.Pod == "(static)/"+name })
	}
	await.Until(t, "leading", func() bool { return apps("plc") })
	followTargets(t, client, o, write, apps)
	for _, want := range []string{"\ndetnet_leader 1\n", `detnet_certificate_expiry_timestamp_seconds{certificate="controller"}`} {
		await.Until(t, want+" in /metrics", func() bool { _, body := get(o.metricsAddr, "/metrics"); return strings.Contains(body, want) })
	}
	await.Until(t, "agents learn whom to trust", func() bool {
		public, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "detnet-controller-tls", metav1.GetOptions{})
		return err == nil && public.Data["ca.crt"] != ""
	})
	await.Until(t, "recording", func() bool {
		code, body := get(o.uiAddr, "/recording")
		return code == http.StatusOK && strings.HasPrefix(body, `{"recording":{"format":5,"version":"dev","law":"adaptive"`) && strings.Contains(body, `"Name":"scanner"`)
	})
	if code, body := get(o.uiAddr, "/"); code != http.StatusOK || !strings.Contains(body, "app.js") {
		t.Errorf("/ = %d %q", code, body)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// followTargets changes the static targets, for the better and for the worse.
func followTargets(t *testing.T, client kubernetes.Interface, o options, write func(string), apps func(...string) bool) {
	t.Helper()
	write("kind: ConfigMap\ndata: {critical-apps.yaml: 'critical_apps: [{name: plc, port: 1, max_jitter_ms: 1}, {name: scanner, port: 2, max_jitter_ms: 1}]'}")
	await.Until(t, "static targets change", func() bool { return apps("plc", "scanner") })
	write("critical_apps: [{name: plc, port: 70000, max_jitter_ms: 1}]")
	await.Until(t, "an Event says what is wrong with them", func() bool {
		events, err := client.EventsV1().Events("default").List(t.Context(), metav1.ListOptions{})
		return err == nil && slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool {
			return e.Regarding.Name == "detnet-controller-0" && e.Reason == "SettingsRefused" && strings.Contains(e.Note, "critical_apps[0].port: 70000 must be from 1 to 65535")
		})
	})
	if _, body := get(o.metricsAddr, "/metrics"); !strings.Contains(body, `detnet_config_valid{file="static-targets"} 0`) {
		t.Error("bad static targets are not the metric's zero")
	}
	await.Until(t, "the last good ones hold", func() bool { return apps("plc", "scanner") })
}

// A word before a flag must not leave the controller in a mode that nobody asked
// for.
func TestFlags(t *testing.T) {
	for _, args := range []string{"--nonsense", "WORD --mode=observe", "--leader-elect false"} {
		if _, err := program.Parse("detnet-controller", strings.Fields(args), new(options), io.Discard); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

// A pipe would keep the controller waiting, at the start or as it looks at the file again.
func TestPipesAreNoFiles(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--config", "--static-targets", "--kubeconfig", "--metrics-client-ca-file"} {
		_, err := program.Parse("detnet-controller", []string{flag + "=" + pipe}, new(options), io.Discard)
		if err == nil || !strings.Contains(err.Error(), flag+": "+pipe+" is a pipe") {
			t.Errorf("%s: %v", flag, err)
		}
	}
	if _, _, err := config.Open(pipe, "", nil); err == nil || !strings.Contains(err.Error(), "is a pipe") {
		t.Errorf("as it is read: %v", err)
	}
}

func get(addr, path string) (int, string) {
	resp, err := http.Get(fmt.Sprintf("http://%s%s", addr, path))
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(body)
}
