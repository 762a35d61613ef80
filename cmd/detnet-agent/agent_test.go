package main

import (
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/internal/deptest"
	"github.com/detnet/detnet/internal/program"
)

func TestParse(t *testing.T) {
	t.Setenv("NODE_NAME", "n1")
	for _, tt := range []struct {
		args string
		want string // part of the error; empty if there is none
	}{
		{"--role=probe", ""},
		{"--role=node --enforce=tc", ""},
		{"--role=probe --insecure --tls-dir=", ""},
		{"", `--role="" must be probe or node`},
		{"--role=both", "must be probe or node"},
		{"--role=probe --node-name=", "NODE_NAME"},
		{"--role=probe --enforce=tc", "--role=node"},
		{"--role=node --enforce=bpf", "must be off or tc"},
		{"--role=probe --tls-dir=", "--insecure"},
		{"--role=probe --metrics-client-ca-file=ca", ""},
		{"--role=probe --insecure --tls-dir= --metrics-client-ca-file=ca", "--tls-dir"},
		{"--role=probe --controller-ca-file=ca", ""},
		{"--role=probe --insecure --tls-dir= --controller-ca-file=ca", "--tls-dir"},
		{"--role=probe --stamp-auth-only", "--stamp-key-file"},
		{"--role=probe --tcp-close=fin", ""},
		{"--role=probe --tcp-close=rst", "must be reset or fin"},
		{"--role=probe --reflector-allow=10", "reflector-allow"},
		{"--role=probe --reflector-rate=0", "more than 0"},
		{"--role=probe --reflector-min-source-port=0", "from 1 to 65535"},
		{"--role=probe --reflector-min-source-port=65536", "from 1 to 65535"},
		{"--role=probe --reflector-min-source-port=1", ""},
		{"--role=probe --reflector-reply-dscp=EF --reflector-reply-dscp=all", ""},
		{"--role=probe --reflector-reply-dscp=64", "neither all nor a codepoint"},
		{"--role=probe extra", `"extra"`},
		{"--role=probe --no-such-flag", "no-such-flag"},
	} {
		var o options
		_, err := program.Parse("detnet-agent", strings.Fields(tt.args), &o, io.Discard)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.args, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: error %v, want one with %q", tt.args, err, tt.want)
		}
		if err == nil && (o.node != "n1" || o.listen == "" || o.metricsAddr == "") {
			t.Errorf("%s: %+v", tt.args, o)
		}
	}
}

// A pipe would keep the agent waiting, at the start or as it reads the file again.
func TestPipesAreNoFiles(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--stamp-key-file", "--controller-ca-file", "--metrics-client-ca-file"} {
		_, err := program.Parse("detnet-agent", []string{"--role=probe", "--node-name=n1", flag + "=" + pipe}, new(options), io.Discard)
		if err == nil || !strings.Contains(err.Error(), flag+": "+pipe+" is a pipe") {
			t.Errorf("%s: %v", flag, err)
		}
	}
	if _, err := probe.OpenKeyring(pipe); err == nil || !strings.Contains(err.Error(), "is a pipe") {
		t.Errorf("as it is read: %v", err)
	}
}

// The agent runs on every node, some of the time as root: it stays free of
// what only the webhook and the controller need.
func TestDependencies(t *testing.T) {
	deptest.Refuse(t, "github.com/open-policy-agent/opa", "github.com/cilium/cilium", "sigs.k8s.io/controller-runtime",
		"k8s.io/api", "k8s.io/client-go", // but for its parser of quantities
		deptest.Module+"/controller", deptest.Module+"/webhook", deptest.Module+"/policies")
}
