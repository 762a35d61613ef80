package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/detnet/detnet/controller/flight"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/sim/worlds"
)

// recorded is what a simulated controller recorded.
func recorded(t *testing.T) *flight.Recorder {
	t.Helper()
	world, err := worlds.Named("tcp-overload")
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := law.New(law.Adaptive, law.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	recorder := new(flight.Recorder)
	recorder.Begin("v1.2.3", law.Adaptive, law.DefaultConfig())
	sim.Run(world, flight.Law{Law: chosen, Recorder: recorder}, 1)
	return recorder
}

// What a simulated controller recorded is fetched, and replayed by its own law
// and by others.
func TestRecordAndReplay(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle(leader.RecordingPath, recorded(t))
	server := httptest.NewServer(mux)
	defer server.Close()

	dir := t.TempDir()
	file, plain, config := filepath.Join(dir, "a.jsonl.gz"), filepath.Join(dir, "a.jsonl"), filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte("laws: {adaptive: {maxCut: 0.3}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   []string
		want   string
		failed bool
	}{
		{[]string{"record", "--url", server.URL, "-o", file}, "steps, 2026-01-01 00:00:", false},
		{[]string{"record", "--url", server.URL, "-o", plain}, "steps, 2026-01-01 00:00:", false},
		{[]string{"record", "--url", server.URL, "-o", "-"}, `{"recording":{"format":5,"version":"v1.2.3"`, false},
		{[]string{"record", "--url", server.URL + "/nowhere", "-o", filepath.Join(dir, "b")}, "404", true},
		{[]string{"replay", file, "--check"}, "node/n1     cut     violation", false},
		{[]string{"replay", plain, "--check", "--all"}, "\n0 of 1", false},
		{[]string{"replay", file, "--config", config, "--check"}, "\n≠ ", true},
		{[]string{"replay", file, "--law", "aimd"}, "\n≠ ", false},
		{[]string{"replay", file, "--law", "aimd", "--output", "json"}, `"differs":true,"recorded":{"at":"2026-01-01T`, false},
		{[]string{"replay", file, "--law", "pid"}, `"pid" for "--law" flag: want adaptive, aimd or step`, true},
		{[]string{"replay", file, "--output", "xml"}, "want text or json", true},
		{[]string{"replay", config}, "line 1: want a recording", true},
		{[]string{"replay", filepath.Join(dir, "none")}, "no such file", true},
	} {
		out, err := runRoot(tt.args...)
		if (err != nil) != tt.failed || !strings.Contains(out, tt.want) {
			t.Errorf("detnet %s: %v\n%.2000s\nlacks %q", strings.Join(tt.args, " "), err, out, tt.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "b")); err == nil {
		t.Error("a recording that could not be fetched left a file")
	}
}
