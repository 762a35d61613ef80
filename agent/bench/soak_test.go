package bench

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/nstest"
)

const soakRate = 2000 // packets a second

// BenchmarkSoak runs detnet probe at the highest rate it takes for the time that
// DETNET_BENCH_SOAK says, and prints what each tenth of it cost: a session that
// lasts must cost the same at its end as at its beginning.
func BenchmarkSoak(b *testing.B) {
	length, err := time.ParseDuration(os.Getenv("DETNET_BENCH_SOAK"))
	if err != nil {
		b.Skip("DETNET_BENCH_SOAK is no duration: make bench-probe-soak DURATION=1h sets it")
	}
	program := buildCLI(b)
	near, far := nstest.New(b), nstest.New(b)
	nstest.Veth(b, near, "near", "10.99.0.1/24", far, "far", "10.99.0.2/24")
	serve(b, far, program, "reflect")
	cmd := exec.Command(program, "probe", "10.99.0.2", "-r", fmt.Sprint(soakRate), "--duration", length.String(), "--interval", (length / 10).String())
	var report strings.Builder
	cmd.Stdout, cmd.Stderr = &report, io.Discard
	near.Do(b, func() { err = cmd.Start() })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	fmt.Printf("\n| after | processor, of a core | resident | of it the process's own |\n|---|---|---|---|\n")
	begin, warm := time.Now(), 0.0
	before, at := cpu(b, cmd), begin
	for n := range 9 { // the tenth ends with the process
		time.Sleep(time.Until(begin.Add(length / 10 * time.Duration(n+1))))
		used, now := cpu(b, cmd), time.Now()
		own := memory(b, cmd, "RssAnon")
		fmt.Printf("| %v | %.2f %% | %.1f MiB | %.1f MiB |\n", now.Sub(begin).Round(time.Second), percent(used-before, now.Sub(at)), memory(b, cmd, "VmRSS"), own)
		if n == 1 { // by then the window of the percentiles is full
			warm = own
		}
		if n == 8 {
			b.ReportMetric(own-warm, "MiB-grown")
		}
		before, at = used, now
	}
	if err := cmd.Wait(); err != nil {
		b.Errorf("detnet probe: %v", err)
	}
	fmt.Println(report.String())
	b.ReportMetric(0, "ns/op")
}
