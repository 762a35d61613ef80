package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/detnet/detnet/internal/program"
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
		{path, cluster{context: "c"}, `--context c: there is no such context in ` + path + `: want a or b`},
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

// Whichever command asks a cluster that does not answer, or not whoever asks, ends without an
// answer, and says of which cluster and what to do.
func TestAClusterThatTellsNothing(t *testing.T) {
	code := http.StatusUnauthorized
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(strings.Replace(kubeconfig, "https://a.example", server.URL, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", path)
	all := []string{"top", "top --node x", "explain a/b", "record -o -", "restore --dry-run", "doctor", "policy shadow", "policy check --cluster", "policy diff --cluster"}
	says := func(want string, lines ...string) {
		t.Helper()
		for _, line := range lines {
			if _, err := runRoot(strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != program.Misuse {
				t.Errorf("detnet %s: %v ends with %d; want %q", line, err, exitCode(err), want)
			}
		}
	}
	says("the cluster at "+server.URL+" does not take the credentials of the kubeconfig's user (401 Unauthorized): renew them", all...)
	code = http.StatusForbidden
	says("it takes the right to get leases, pods and pods/proxy there", "top", "explain a/b", "record -o -")
	code = http.StatusNotFound
	says("is it installed in this namespace, and running? kubectl -n detnet get pods shows what runs there, and --detnet-namespace names another", "top", "explain a/b", "record -o -")
	server.Close()
	says("reach the cluster at "+server.URL+": ", all...)
	says("see that the kubeconfig (--kubeconfig, --context) is of the cluster that is meant", all...)
	says("see that --url is that of the status page, such as http://127.0.0.1:8082 after kubectl", "top --url "+server.URL, "explain a/b --url "+server.URL, "record -o - --url "+server.URL)
}
