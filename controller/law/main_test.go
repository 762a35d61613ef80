package law

import (
	"flag"
	"os"
	"runtime/debug"
	"slices"
	"testing"
)

// TestMain draws fewer scenes where the race detector makes each of them cost ten
// times as much: a law starts no goroutine, and runs on one.
func TestMain(m *testing.M) {
	flag.Parse()
	checks := flag.Lookup("rapid.checks")
	build, _ := debug.ReadBuildInfo()
	if build != nil && slices.Contains(build.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) && checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("20"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
