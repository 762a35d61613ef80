package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/controller/ui"
	"github.com/detnet/detnet/internal/program"
)

// runRoot runs the CLI as it is wired.
func runRoot(args ...string) (string, error) {
	var out bytes.Buffer
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.Execute()
	return out.String(), err
}

func TestTopAndExplain(t *testing.T) {
	server := httptest.NewServer(ui.Handler(func() *status.Status {
		return &status.Status{Leader: true, Law: "adaptive", Mode: "enforce", Senders: []status.Sender{{Pod: "factory/telemetry", Node: "worker-1", MaxBps: 1e9, LimitBps: 85e6}}}
	}, nil))
	defer server.Close()
	for _, tt := range []struct {
		args []string
		want string // "" : an error
	}{
		{[]string{"top"}, "factory/telemetry"},
		{[]string{"top", "-o", "json"}, `"limit_bps":85000000`},
		{[]string{"top", "-o", "xml"}, ""},
		{[]string{"explain", "factory/telemetry"}, "limit in force 85.0M"},
		{[]string{"explain", "pod/factory/telemetry", "-o", "json"}, `"sender":{"pod":"factory/telemetry"`},
		{[]string{"explain", "factory/stranger"}, ""},
		{[]string{"explain"}, ""},
	} {
		out, err := runRoot(append(tt.args, "--url", server.URL)...)
		if (err != nil) != (tt.want == "") || !strings.Contains(out, tt.want) {
			t.Errorf("detnet %s: %v\n%s\nlacks %q", strings.Join(tt.args, " "), err, out, tt.want)
		}
	}
}

// An empty table would say that all is well on a node, and in a namespace, that are mistyped.
func TestTopOfWhatIsNotThere(t *testing.T) {
	server := httptest.NewServer(ui.Handler(func() *status.Status {
		return &status.Status{
			Leader: true, Law: "adaptive", Mode: "enforce",
			Agents:  []status.Agent{{Node: "worker-2", Connected: true}},
			Senders: []status.Sender{{Pod: "factory/telemetry", Node: "worker-1", MaxBps: 1e9, LimitBps: 85e6}},
		}
	}, nil))
	defer server.Close()
	for args, want := range map[string]string{ // the whole of it: "" is no error
		"--node worker-1":                      "",
		"--node worker-2":                      "",
		"--node worker-2 --namespace factory":  "",
		"--namespace factory":                  "",
		"--node nosuch":                        "--node nosuch: the controller knows no such node: want one of worker-1, worker-2",
		"--node nosuch --watch 1s -o json":     "--node nosuch: the controller knows no such node: want one of worker-1, worker-2",
		"--namespace factroy":                  "--namespace factroy: no pod of that namespace is protected or limited: want one of factory",
		"--node worker-1 --namespace worker-1": "--namespace worker-1: no pod of that namespace is protected or limited: want one of factory",
	} {
		_, err := runRoot(append([]string{"top", "--url", server.URL}, strings.Fields(args)...)...)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want || exitCode(err) != program.Misuse) {
			t.Errorf("detnet top %s: %v (%d), want %q", args, err, exitCode(err), want)
		}
	}
}

func TestImportCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "critical-apps.yaml")
	text := "critical_apps: [{name: robot, port: 5201, max_jitter_ms: 1}]\ncontrol: {step_up: 10}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for only, want := range map[string][2]string{ // has, lacks
		"":          {"kind: Deployment", "nothing of the kind"},
		"values":    {"increase: 10M", "kind: Deployment"},
		"workloads": {"kind: Deployment", "increase"},
	} {
		out, err := runRoot("import", path, "--only", only)
		if err != nil || !strings.Contains(out, want[0]) || strings.Contains(out, want[1]) {
			t.Errorf("--only %q: %v\n%s", only, err, out)
		}
	}
	if _, err := runRoot("import", path, "--only", "half"); err == nil {
		t.Error("--only half is accepted")
	}
	if err := os.WriteFile(path, []byte("critical_apps: [{name: robot, port: 0}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := runRoot("import", path); err == nil || !strings.Contains(err.Error(), "critical_apps[0].port") {
		t.Errorf("a bad file: %v\n%s", err, out)
	}
}

// Of what is on a node, or in a namespace, the controller is asked for that alone, also to tell
// whether there is such a one: all of it may be megabytes.
func TestTopAsksForWhatItShows(t *testing.T) {
	s := &status.Status{Leader: true, Law: "adaptive", Mode: "enforce"}
	for i := range 20 {
		s.Senders = append(s.Senders, status.Sender{Pod: fmt.Sprintf("factory-%02d/pod", i), Node: fmt.Sprintf("worker-%02d", i)})
	}
	var asked []string
	page := ui.Handler(func() *status.Status { return s }, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		values := r.URL.Query()
		values.Del("local") // that it may not ask another replica
		asked = append(asked, values.Encode())
		page.ServeHTTP(w, r)
	}))
	defer server.Close()
	for args, want := range map[string]string{
		"--node worker-03":                         "node=worker-03",
		"-n factory-04":                            "namespace=factory-04",
		"-n factory-04 --node worker-04 -o json":   "namespace=factory-04&node=worker-04",
		"--node worker-05 --limit 7 -n factory-05": "limit=7&namespace=factory-05&node=worker-05",
	} {
		asked = nil
		if _, err := runRoot(append([]string{"top", "--url", server.URL}, strings.Fields(args)...)...); err != nil || !slices.Equal(asked, []string{want}) {
			t.Errorf("top %s: %v, asked for %q", args, err, asked)
		}
	}
	asked = nil
	_, err := runRoot("top", "--url", server.URL, "--node", "nosuch")
	if want := "want one of worker-00, worker-01,"; err == nil || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), "worker-11, and 8 more") || len(asked) != 1 {
		t.Errorf("%v lacks %q; asked for %q", err, want, asked)
	}
}

// A pod is named as kubectl names it: by -n, else in the namespace that the context names.
func TestWhichPodIsExplained(t *testing.T) {
	for _, tt := range []struct{ arg, flag, want string }{
		{"factory/pod", "", "factory/pod"},
		{"pod/factory/pod", "", "factory/pod"},
		{"pod", "factory", "factory/pod"},
		{"pod/pod", "factory", "factory/pod"},
		{"factory/pod", "factory", "factory/pod"},
		{"pod", "", "usual/pod"},
		{"factory/pod", "office", ""},
		{"", "", ""}, {"/", "", ""}, {"factory/", "", ""}, {"/pod", "", ""}, {"a/b/c", "", ""}, {"pod/", "", ""},
	} {
		got, err := podNamed(tt.arg, tt.flag, func() string { return "usual" })
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q -n %q: %q, %v; want %q", tt.arg, tt.flag, got, err, tt.want)
		}
	}
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(strings.Replace(kubeconfig, "{cluster: b}", "{cluster: b, namespace: office}", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for context, want := range map[string]string{"a": "default", "b": "office", "nosuch": "default"} {
		if got := (&cluster{kubeconfig: path, context: context}).namespace(); got != want {
			t.Errorf("context %s: namespace %q, want %q", context, got, want)
		}
	}
}
