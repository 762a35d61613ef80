package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestImport(t *testing.T) {
	const target = "critical_apps: [{name: robot-control, max_jitter_ms: 1}]\n"
	tests := map[string]struct {
		text, want, err string
	}{
		"plain":       {target, "# Assumed: critical_apps[0].port: not given; 5201", ""},
		"workloads":   {target, "detnet.dev/probe: udp:5201", ""},
		"empty":       {"# nothing\n", "", "-: says nothing"},
		"something":   {"replicaCount: 2\n", "", "-: the file: has none of: critical_apps"},
		"not YAML":    {"a: [1\n", "", "-: not YAML"},
		"of binaries": {"\x00\x01\xff", "", "-: not YAML"},
	}
	for name, tt := range tests {
		var out bytes.Buffer
		cmd := newImportCommand()
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs([]string{"-"})
		cmd.SetIn(strings.NewReader(tt.text))
		cmd.SetOut(&out)
		err := cmd.ExecuteContext(t.Context())
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", name, err, tt.err)
		}
		if err != nil && out.Len() > 0 || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: wrote %q, want %q", name, &out, tt.want)
		}
	}
}
