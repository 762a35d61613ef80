package sandbox

import (
	"fmt"
	"os"
	"runtime"
	"testing"
)

// supported says whether this host can run a sandbox, as far as can be told
// without trying.
func supported() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("%w: this is %s", ErrUnsupported, runtime.GOOS)
	}
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Errorf("%w: the user id is %d", ErrUnsupported, uid)
	}
	return nil
}

// Require skips a test where a sandbox can't run. With CI=true it fails the
// test instead, so that a wrongly set up CI can't look green.
func Require(t testing.TB) {
	t.Helper()
	err := supported()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}
