package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/scene"
)

// screen is the viewer of a terminal: one page, redrawn.
type screen struct {
	program *tea.Program
	done    chan struct{}
}

func newScreen(o options) *screen {
	title := fmt.Sprintf("detnet demo: %v uplink, %s load, law %s", o.capacity, o.load, o.law)
	s := &screen{
		program: tea.NewProgram(page{title: title, capacity: o.capacity, history: map[string][]float64{}}, tea.WithoutSignalHandler()),
		done:    make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		_, _ = s.program.Run() // without a screen the report still comes
	}()
	return s
}

func (s *screen) tell(format string, args ...any) { s.program.Send(fmt.Sprintf(format, args...)) }
func (s *screen) tick(t scene.Tick)               { s.program.Send(t) }
func (s *screen) close() {
	s.program.Quit()
	<-s.done
}

const (
	historyLen = 60 // seconds
	barLen     = 30
)

// page is what the screen shows.
type page struct {
	title    string
	capacity bitrate.Rate
	doing    string
	tick     scene.Tick
	history  map[string][]float64 // of each app, worst second last, in targets
}

// Init implements tea.Model.
func (p page) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (p page) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.KeyMsg:
		if msg.String() == "ctrl+c" {
			// The terminal is in raw mode: pass the interrupt on to the run.
			_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
		}
	case string:
		p.doing = strings.TrimSpace(msg)
	case scene.Tick:
		p.tick, p.doing = msg, ""
		for _, a := range msg.Apps {
			p.history[a.Name] = append(p.history[a.Name], a.P99/a.MaxJitter)
			p.history[a.Name] = p.history[a.Name][max(0, len(p.history[a.Name])-historyLen):]
		}
	}
	return p, nil
}

// View implements tea.Model.
func (p page) View() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n %s\n\n", p.title)
	if p.tick.Phase != "" {
		fmt.Fprintf(&b, " phase %-14s %3.0f s\n\n", p.tick.Phase, p.tick.Elapsed.Seconds())
		fmt.Fprintf(&b, " %-18s %9s %9s %8s  delay variation, full bar = target\n", "critical", "p50", "p99", "target")
		for _, a := range p.tick.Apps {
			mark := "ok"
			if a.ViolationRatio >= lateShare {
				mark = "LATE"
			}
			fmt.Fprintf(&b, " %-18s %6.2f ms %6.2f ms %5.0f ms  %s %s\n", a.Name, a.P50, a.P99, a.MaxJitter, sparkline(p.history[a.Name]), mark)
		}
		fmt.Fprintf(&b, "\n %-18s %14s %8s\n", "best effort", "goodput", "limit")
		for _, s := range p.tick.Senders {
			share := float64(s.Goodput) / float64(p.capacity)
			fmt.Fprintf(&b, " %-18s %7.1f Mbit/s %8s  %s\n", s.Name, s.Goodput.Mbit(), limitText(s), bar(share))
		}
	}
	fmt.Fprintf(&b, "\n %s\n", p.doing)
	return b.String()
}

// sparkline draws values, 1 being a full block.
func sparkline(values []float64) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	out := make([]rune, len(values))
	for i, v := range values {
		out[i] = blocks[int(math.Min(math.Max(v, 0), 0.999)*float64(len(blocks)))]
	}
	return string(out)
}

// bar draws a share of the uplink.
func bar(share float64) string {
	full := int(math.Round(math.Min(math.Max(share, 0), 1) * barLen))
	return strings.Repeat("█", full) + strings.Repeat("░", barLen-full)
}
