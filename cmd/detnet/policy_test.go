package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const uploader = `apiVersion: apps/v1
kind: Deployment
metadata: {name: upload, namespace: shop}
spec:
  template:
    metadata: {labels: {app: upload, detnet.dev/priority: best-effort}}
    spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}
`

// detnet runs the command as a shell would.
func detnet(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := newPolicyCommand()
	cmd.SilenceUsage = true
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func policyDir(t *testing.T, name, content string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPolicyEvalShowsThePatch(t *testing.T) {
	out, err := detnet(t, uploader, "eval", "-")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Deployment shop/upload: best-effort",
		"+ metadata/labels/detnet.dev/class: best-effort",
		"+ metadata/annotations/kubernetes.io/egress-bandwidth: 100M",
		"+ spec/priorityClassName: detnet-best-effort",
		"+ CiliumNetworkPolicy detnet-best-effort-upload-46897428a0",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestPolicyEvalFailsOnARefusedPod(t *testing.T) {
	dir := policyDir(t, "site.yaml", "trust: {otherwise: deny}\n")
	critical := strings.Replace(uploader, "best-effort", "critical", 1)
	out, err := detnet(t, critical, "eval", "-d", dir, "-")
	if err == nil || !strings.Contains(out, "refused: class critical may not be claimed here") {
		t.Errorf("error %v, output\n%s", err, out)
	}
	if out, err = detnet(t, critical, "eval", "-d", dir, "--namespace-labels", "detnet.dev/allow-critical=true", "-"); err != nil {
		t.Errorf("error %v, output\n%s", err, out)
	}
}

func TestPolicyOutputsAreData(t *testing.T) {
	out, err := detnet(t, uploader, "eval", "-o", "json", "-")
	if err != nil {
		t.Fatal(err)
	}
	var got []struct{ Decision struct{ Class string } }
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got) != 1 || got[0].Decision.Class != "best-effort" {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := detnet(t, uploader, "eval", "-o", "yaml", "-"); err != nil || !strings.Contains(out, "class: best-effort") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := detnet(t, uploader, "eval", "-o", "xml", "-"); err == nil {
		t.Error("xml is taken")
	}
}

func TestPolicyDiff(t *testing.T) {
	dir := policyDir(t, "site.yaml", "classes: {best-effort: {bandwidth: {max: 500M}}}\n")
	out, err := detnet(t, uploader, "diff", "-d", dir, "-")
	if err == nil || !strings.Contains(out, `bandwidth.max: "1G" -> "500M"`) || !strings.Contains(out, "1 of 1 pods would change") {
		t.Errorf("error %v, output\n%s", err, out)
	}
	if out, err := detnet(t, uploader, "diff", "-"); err != nil || !strings.Contains(out, "0 of 1 pods would change") {
		t.Errorf("error %v, output\n%s", err, out)
	}
}

func TestPolicyTestAndCheck(t *testing.T) {
	out, err := detnet(t, "", "test", "--coverage", "80")
	if err != nil || !strings.Contains(out, "coverage") {
		t.Errorf("error %v, output\n%s", err, out)
	}
	if _, err := detnet(t, "", "test", "--coverage", "100.1"); err == nil {
		t.Error("too little coverage passes")
	}
	if out, err := detnet(t, "", "check"); err != nil || !strings.Contains(out, "is good") {
		t.Errorf("error %v, output\n%s", err, out)
	}
	failing := policyDir(t, "site_test.rego", "package site_test\n\ntest_no if false\n")
	for _, sub := range []string{"test", "check"} {
		if out, err := detnet(t, "", sub, "-d", failing); err == nil {
			t.Errorf("%s passes a failing test:\n%s", sub, out)
		}
	}
	broken := policyDir(t, "site.rego", "package detnet.site\n\nclass := oops\n")
	if _, err := detnet(t, "", "check", "-d", broken); err == nil || !strings.Contains(err.Error(), "site.rego:3") {
		t.Errorf("error %v, want file and line", err)
	}
}

func TestPolicyExplain(t *testing.T) {
	out, err := detnet(t, uploader, "explain", "-")
	if err != nil || !strings.Contains(out, "by data.detnet.claim  class.rego:") {
		t.Errorf("error %v, output\n%s", err, out)
	}
}

func TestPolicyDirectoryThatIsNone(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "nowhere"} {
		if _, err := detnet(t, "", "check", "-d", dir); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v, want one that names it", dir, err)
		}
	}
}

// A kind that nobody knows is named, and fails the run for who asks for that.
func TestPolicyEvalNamesWhatItSkips(t *testing.T) {
	more := uploader + "---\napiVersion: tekton.dev/v1\nkind: TaskRun\nmetadata: {name: t}\n"
	const says = "detnet does not know whether they make pods: TaskRun.tekton.dev (1)"
	if out, err := detnet(t, more, "eval", "-"); err != nil || !strings.Contains(out, says) {
		t.Errorf("error %v, output\n%s", err, out)
	}
	if out, err := detnet(t, more, "eval", "--complete", "-"); err == nil || !strings.Contains(out, says) {
		t.Errorf("--complete: error %v, output\n%s", err, out)
	}
	if out, err := detnet(t, strings.Replace(uploader, "best-effort", "best-efort", 1), "eval", "-"); err != nil || !strings.Contains(out, "warning: label detnet.dev/priority=best-efort is no class: did you mean best-effort?") {
		t.Errorf("error %v, output\n%s", err, out)
	}
}

// endless never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A manifest that never ends is refused, and not read into all memory.
func TestManifestIsBounded(t *testing.T) {
	if _, err := readManifest(endless{}, "-"); err == nil || !strings.Contains(err.Error(), "64 MiB or more") {
		t.Errorf("error %v, want that it is too long", err)
	}
}
