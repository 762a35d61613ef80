package pid1

import (
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// A process has one reaper, which takes everybody's children.
var reaper = sync.OnceValue(New)

func TestReaper(t *testing.T) {
	r := reaper()
	if err := r.Run(exec.Command("true")); err != nil {
		t.Errorf("true: %v", err)
	}
	if err := r.Run(exec.Command("sh", "-c", "exit 3")); err == nil || !strings.Contains(err.Error(), "status 3") {
		t.Errorf("exit 3: %v", err)
	}
	if _, err := r.Start(exec.Command("no-such-program")); err == nil {
		t.Error("a program that isn't there started")
	}
	p, err := r.Start(exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("killed: %v", err)
	}
	p.Kill()       // again: nothing to do
	for range 50 { // a child may end before Start returns; it must not be missed
		if err := r.Run(exec.Command("true")); err != nil {
			t.Fatal(err)
		}
	}
}
