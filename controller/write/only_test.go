package write

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Nothing else in the controller changes objects: the budget, the memory of
// refusals and the end of a lead hold for what goes through here alone. The Lease
// is the leader's own.
func TestTheOnlyWriter(t *testing.T) {
	writes := regexp.MustCompile(`metav1\.(Create|Update|Patch|Apply|Delete)Options\{|\.(Post|Put)\(\)|\.Patch\(types\.|\b[rR]est(Client\(\))?\.Delete\(\)`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, filepath.Join("..", "write")+"/") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(raw), "\n") {
			if writes.MatchString(line) {
				t.Errorf("%s:%d writes past controller/write: %s", path, i+1, strings.TrimSpace(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
