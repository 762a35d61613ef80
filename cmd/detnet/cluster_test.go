package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://a.example"}}, {name: b, cluster: {server: "https://b.example"}}]
contexts: [{name: a, context: {cluster: a}}, {name: b, context: {cluster: b}}]
current-context: a
`

// A command talks to the cluster that kubectl would, and who gives it no kubeconfig is told
// where it looked and how to give one.
func TestWhichCluster(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "") // a test in a pod has a cluster without one
	for _, tt := range []struct {
		env  string
		flag cluster
		want string // the API server, or a part of the error
	}{
		{path, cluster{}, "https://a.example"},
		{path, cluster{context: "b"}, "https://b.example"},
		{"/nosuch", cluster{kubeconfig: path, context: "b"}, "https://b.example"},
		{"/nosuch", cluster{}, "/nosuch names none: give the kubeconfig by --kubeconfig or KUBECONFIG"},
		{path, cluster{kubeconfig: "/nosuch"}, "/nosuch: no such file"},
		{path, cluster{kubeconfig: empty}, empty + " names none"},
		{path, cluster{context: "c"}, `context "c" does not exist`},
	} {
		t.Setenv("KUBECONFIG", tt.env)
		config, err := tt.flag.config()
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = config.Host
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("KUBECONFIG=%s %+v: %q, want %q", tt.env, tt.flag, got, tt.want)
		}
	}
}
