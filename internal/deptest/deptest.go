// Package deptest states, in a test of the guarded package itself, what that
// package must not come to depend on.
package deptest

import (
	"os/exec"
	"strings"
	"testing"
)

// Module is the import path that detnet's own packages begin with.
const Module = "github.com/detnet/detnet"

// Refuse fails the test for every package that the one under test depends on,
// directly or through others, and that is one of paths or lies below it.
func Refuse(t *testing.T, paths ...string) {
	t.Helper()
	// go test runs each test in the folder of its package.
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", ".")
	var said strings.Builder
	list.Stderr = &said // which also tells what is being fetched
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, said.String())
	}
	for dependency := range strings.FieldsSeq(string(out)) {
		for _, path := range paths {
			if strings.HasPrefix(dependency+"/", path+"/") {
				t.Errorf("depends on %s", dependency)
			}
		}
	}
}
