package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/apitest"
	"github.com/detnet/detnet/controller/status"
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

	o, err := parseFlags([]string{
		"--kubeconfig=" + kubeconfig, "--namespace=default",
		"--metrics-addr=" + freeAddr(t), "--health-addr=" + freeAddr(t), "--ui-addr=" + freeAddr(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, o, slog.New(slog.NewTextHandler(t.Output(), nil))) }()

	eventually(t, "ready", func() bool { code, _ := get(o.healthAddr, "/readyz"); return code == http.StatusOK })
	eventually(t, "leading", func() bool {
		_, body := get(o.uiAddr, "/status")
		var s status.Status
		return json.Unmarshal([]byte(body), &s) == nil && s.Leader && s.Law == "adaptive"
	})
	if _, body := get(o.metricsAddr, "/metrics"); !strings.Contains(body, "\ndetnet_leader 1\n") {
		t.Error("/metrics lacks detnet_leader 1")
	}
	if code, body := get(o.uiAddr, "/"); code != http.StatusOK || !strings.Contains(body, "app.js") {
		t.Errorf("/ = %d %q", code, body)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestParseFlagsRefuses(t *testing.T) {
	if _, err := parseFlags([]string{"--nonsense"}); err == nil {
		t.Error("an unknown flag is accepted")
	}
	if _, err := newLogger("loud", "json"); err == nil {
		t.Error("an unknown log level is accepted")
	}
	if _, err := newLogger("info", "xml"); err == nil {
		t.Error("an unknown log format is accepted")
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
