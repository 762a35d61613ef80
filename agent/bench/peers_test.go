package bench

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/quantile"
)

// said is what a tool reports: its round trips, and counts, negative where it
// does not say.
type said struct {
	trips []time.Duration
	counts
}

// tool is a program that measures 10.99.0.2 with n packets, one each 10 ms.
type tool struct {
	name   string
	server func(b *testing.B, far *nstest.Net)
	run    func(b *testing.B, near *nstest.Net, n int) (said, error)
}

const (
	peersPackets = 1500
	peersGap     = 10 * time.Millisecond
)

// BenchmarkPeers runs detnet probe, irtt, ping and fping at once over one path,
// and compares what each says with a capture of its packets on its interface:
// quantiles on a path of 2 to 6 ms, and counts on one that loses, doubles and
// holds back. A tool that is not installed is left out, and said.
func BenchmarkPeers(b *testing.B) {
	program := buildCLI(b)
	tools := []tool{ourselves(program), irtt(), ping(), fping()}
	table := new(strings.Builder)
	b.Run("quantiles", func(b *testing.B) {
		beside(b, table, tools, impaired{least: time.Millisecond, spread: 2 * time.Millisecond}, quantilesOf)
		b.ReportMetric(0, "ns/op")
	})
	b.Run("counts", func(b *testing.B) {
		beside(b, table, tools, impaired{least: time.Millisecond, lostThere: 0.03, lostBack: 0.02, doubled: 0.01, held: 0.05, holdFor: 35 * time.Millisecond}, countsOf)
		b.ReportMetric(0, "ns/op")
	})
	fmt.Print(table.String())
}

// beside runs the tools over p and writes a line about each.
func beside(b *testing.B, table *strings.Builder, tools []tool, p impaired, compare func(b *testing.B, name string, says said, trips []time.Duration, is counts) []string) {
	near, far := joined(b, p)
	seen := sniff(b, near, "near")
	results, failures := make([]said, len(tools)), make([]error, len(tools))
	var running sync.WaitGroup
	for i, t := range tools {
		if t.name != "detnet" {
			if _, failures[i] = exec.LookPath(t.name); failures[i] != nil {
				continue
			}
		}
		if t.server != nil {
			t.server(b, far)
		}
		running.Go(func() { results[i], failures[i] = t.run(b, near, peersPackets) })
	}
	running.Wait()
	time.Sleep(200 * time.Millisecond) // the capture reads on
	fmt.Fprintf(table, "\n| %s | what the tool says, of the capture's |\n|---|---|\n", strings.TrimPrefix(b.Name(), "BenchmarkPeers/"))
	for i, t := range tools {
		if failures[i] != nil {
			fmt.Fprintf(table, "| %s | left out: %v |\n", t.name, failures[i])
			continue
		}
		trips, is := seen.of(t.name)
		fmt.Fprintf(table, "| %s | %s |\n", t.name, strings.Join(compare(b, t.name, results[i], trips, is), " | "))
	}
}

// quantilesOf are how far the quantiles that a tool says are from the capture's,
// in microseconds.
func quantilesOf(b *testing.B, name string, says said, trips []time.Duration, is counts) []string {
	cells := []string{fmt.Sprintf("%d packets", is.received)}
	slices.Sort(says.trips)
	for _, q := range []float64{0.5, 0.9, 0.95, 0.99} {
		off := float64((quantile.Of(says.trips, q) - quantile.Of(trips, q)).Nanoseconds()) / 1e3
		cells = append(cells, fmt.Sprintf("p%.0f %.3f ms %+.1f µs", 100*q, quantile.Of(trips, q).Seconds()*1e3, off))
		if name == "detnet" {
			within(b, off, 10, fmt.Sprintf("µs-p%.0f", 100*q))
		}
	}
	return cells
}

// countsOf are the counts that a tool says, beside the capture's.
func countsOf(b *testing.B, name string, says said, _ []time.Duration, is counts) []string {
	var cells []string
	off := 0
	for _, c := range []struct {
		name     string
		says, is int
	}{{"sent", says.sent, is.sent}, {"received", says.received, is.received}, {"duplicated", says.duplicated, is.duplicated}, {"reordered", says.reordered, is.reordered}} {
		if c.says < 0 {
			cells = append(cells, fmt.Sprintf("%s – of %d", c.name, c.is))
			continue
		}
		off += max(c.says-c.is, c.is-c.says)
		cells = append(cells, fmt.Sprintf("%s %d of %d", c.name, c.says, c.is))
	}
	if name == "detnet" {
		within(b, float64(off), 0, "counts-off")
	}
	return cells
}

// buildCLI returns the path of detnet.
func buildCLI(b *testing.B) string {
	path := filepath.Join(b.TempDir(), "detnet")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/detnet/detnet/cmd/detnet").CombinedOutput(); err != nil {
		b.Fatalf("build detnet: %v\n%s", err, out)
	}
	return path
}

// inside runs a command in a namespace and returns what it prints.
func inside(b *testing.B, n *nstest.Net, name string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(b.Context(), name, args...)
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if failed := n.Run(func() { err = cmd.Start() }); failed != nil || err != nil {
		return "", "", fmt.Errorf("start %s: %w, %w", name, err, failed)
	}
	err = cmd.Wait()
	return out.String(), messages.String(), err
}

// serve runs a command in a namespace until the benchmark ends.
func serve(b *testing.B, n *nstest.Net, name string, args ...string) {
	cmd := exec.Command(name, args...)
	var err error
	n.Do(b, func() { err = cmd.Start() })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	time.Sleep(300 * time.Millisecond)
}

func millis(text string) time.Duration {
	ms, _ := strconv.ParseFloat(text, 64)
	return time.Duration(ms * float64(time.Millisecond))
}

func ourselves(program string) tool {
	summary := regexp.MustCompile(`(\d+) sent, (\d+) received`)
	count := func(text, what string) int {
		if m := regexp.MustCompile(`(\d+) ` + what).FindStringSubmatch(text); m != nil {
			n, _ := strconv.Atoi(m[1])
			return n
		}
		return 0 // said only if there are any
	}
	return tool{
		name:   "detnet",
		server: func(b *testing.B, far *nstest.Net) { serve(b, far, program, "reflect") },
		run: func(b *testing.B, near *nstest.Net, n int) (said, error) {
			rate := strconv.FormatFloat(1/peersGap.Seconds(), 'f', -1, 64)
			out, report, err := inside(b, near, program, "probe", "10.99.0.2", "-r", rate, "-c", strconv.Itoa(n), "-o", "csv")
			if err != nil {
				return said{}, err
			}
			lines, err := csv.NewReader(strings.NewReader(out)).ReadAll()
			if err != nil {
				return said{}, err
			}
			var s said
			for _, line := range lines[1:] {
				if line[4] != "" {
					s.trips = append(s.trips, millis(line[4])) // with the reflector's own time, as in the capture
				}
			}
			m := summary.FindStringSubmatch(report)
			if m == nil {
				return s, fmt.Errorf("no summary in %q", report)
			}
			s.sent, _ = strconv.Atoi(m[1])
			s.received, _ = strconv.Atoi(m[2])
			s.duplicated, s.reordered = count(report, "duplicated"), count(report, "reordered")
			return s, nil
		},
	}
}

func irtt() tool {
	return tool{
		name:   "irtt",
		server: func(b *testing.B, far *nstest.Net) { serve(b, far, "irtt", "server", "-b", "10.99.0.2") },
		run: func(b *testing.B, near *nstest.Net, n int) (said, error) {
			file := filepath.Join(b.TempDir(), "irtt.json")
			length := time.Duration(n) * peersGap
			if _, messages, err := inside(b, near, "irtt", "client", "-Q", "-o", file, "-i", peersGap.String(), "-d", length.String(),
				"--tstamp=none", "--wait=1s", "10.99.0.2"); err != nil {
				return said{}, fmt.Errorf("%w: %s", err, messages)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return said{}, err
			}
			var r struct {
				Stats struct {
					Sent       int `json:"packets_sent"`
					Received   int `json:"packets_received"`
					Duplicates int `json:"duplicates"`
					Late       int `json:"late_packets"`
				} `json:"stats"`
				Trips []struct {
					Delay struct {
						RTT int64 `json:"rtt"`
					} `json:"delay"`
				} `json:"round_trips"`
			}
			if err := json.Unmarshal(data, &r); err != nil {
				return said{}, fmt.Errorf("read irtt's output: %w", err)
			}
			s := said{counts: counts{r.Stats.Sent, r.Stats.Received, r.Stats.Duplicates, r.Stats.Late}}
			for _, trip := range r.Trips {
				if trip.Delay.RTT > 0 {
					s.trips = append(s.trips, time.Duration(trip.Delay.RTT))
				}
			}
			return s, nil
		},
	}
}

func ping() tool {
	line := regexp.MustCompile(`time=([0-9.]+) ms(.*)`)
	total := regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)
	return tool{
		name: "ping",
		run: func(b *testing.B, near *nstest.Net, n int) (said, error) {
			out, _, _ := inside(b, near, "ping", "-i", strconv.FormatFloat(peersGap.Seconds(), 'f', -1, 64), "-c", strconv.Itoa(n), "-s", strconv.Itoa(pingSize-8), "-W", "1", "10.99.0.2")
			s := said{counts: counts{reordered: -1}}
			for _, m := range line.FindAllStringSubmatch(out, -1) {
				if strings.Contains(m[2], "DUP") {
					s.duplicated++
					continue
				}
				s.trips = append(s.trips, millis(m[1]))
			}
			m := total.FindStringSubmatch(out)
			if m == nil {
				return s, fmt.Errorf("no summary in ping's output")
			}
			s.sent, _ = strconv.Atoi(m[1])
			s.received, _ = strconv.Atoi(m[2])
			return s, nil
		},
	}
}

func fping() tool {
	return tool{
		name: "fping",
		run: func(b *testing.B, near *nstest.Net, n int) (said, error) {
			_, out, _ := inside(b, near, "fping", "-q", "-C", strconv.Itoa(n), "-p", strconv.FormatInt(peersGap.Milliseconds(), 10), "-t", "1000", "-b", "40", "10.99.0.2")
			s := said{counts: counts{reordered: -1}}
			for _, line := range strings.Split(out, "\n") {
				host, trips, ok := strings.Cut(line, " : ")
				switch {
				case !ok || strings.TrimSpace(host) != "10.99.0.2":
					continue
				case strings.Contains(trips, "duplicate"):
					s.duplicated++
					continue
				}
				for _, trip := range strings.Fields(trips) {
					s.sent++
					if trip != "-" {
						s.received++
						s.trips = append(s.trips, millis(trip))
					}
				}
			}
			if s.sent == 0 {
				return s, fmt.Errorf("no times in fping's output: %.200s", out)
			}
			return s, nil
		},
	}
}
