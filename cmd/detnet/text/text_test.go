package text

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
)

var update = flag.Bool("update", false, "write the golden files")

func example() *status.Status {
	at := time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC)
	cut := status.Reason{
		Bottleneck: plan.Uplink("worker-2"), Action: plan.Cut, Cause: plan.Violation, App: "factory/robot-control", Signal: "jitter",
		MeasuredMs: 8.7, TargetMs: 1, Samples: 13, UsageBps: 212 * bitrate.Mbit, FromBps: bitrate.Gbit, ToBps: 178 * bitrate.Mbit,
	}
	hold := status.Reason{Bottleneck: plan.Uplink("worker-2"), Action: plan.Hold, Cause: plan.AwaitEffect, FromBps: 178 * bitrate.Mbit, ToBps: 178 * bitrate.Mbit}
	return &status.Status{
		At: at, Replica: "detnet-controller-7c9", Leader: true, Mode: "enforce", Law: "adaptive",
		Apps: []status.App{
			{
				Pod: "factory/robot-control", Node: "worker-2", Rank: 100, Mode: "enforce", Probe: "udp:5201", DSCP: "EF", State: status.Violated,
				Target: status.Measures{JitterMs: 1}, Measured: status.Measures{JitterMs: 8.7, LatencyMs: 9, Loss: 0.02}, ViolationRatio: 0.531,
				Sessions: []status.Session{
					{From: "worker-1", BaseMs: 0.3, Measured: status.Measures{JitterMs: 8.7, LatencyMs: 9}, Samples: 50, NodeSession: &status.Session{From: "worker-1", BaseMs: 0.2, Measured: status.Measures{JitterMs: 0.1, LatencyMs: 0.3}, Samples: 49}},
					{From: "worker-3", Blind: true, Error: "connection refused"},
				},
			},
			{Pod: "factory/safety-scanner", Node: "worker-9", Probe: "tcp:5202", State: status.Blind, Nobody: "no probe agent runs on any node"},
		},
		Senders: []status.Sender{
			{Pod: "factory/telemetry-upload", Node: "worker-2", Rank: 10, Weight: 1, Mode: "enforce", MinBps: 10 * bitrate.Mbit, MaxBps: bitrate.Gbit, LimitBps: 89 * bitrate.Mbit, UsageBps: 85_100_000, Known: true},
			{Pod: "factory/erp-dashboard", Node: "worker-2", Rank: 10, Weight: 1, Mode: "observe", MinBps: 10 * bitrate.Mbit, MaxBps: bitrate.Gbit, Refused: "you must provide the label owner"},
			{Pod: "factory/camera", Node: "worker-2", Rank: 10, Weight: 1, Mode: "enforce", MinBps: 10 * bitrate.Mbit, MaxBps: bitrate.Gbit, LimitBps: 89 * bitrate.Mbit, UsageBps: 150 * bitrate.Mbit, Known: true, OverLimit: "it sends more than its limit of 89M and does not slow down"},
		},
		Reasons: []status.Reason{hold},
		Agents: []status.Agent{
			{Pod: "detnet/probe-1", Node: "worker-1", Role: "probe", Connected: true},
			{Pod: "detnet/probe-2", Node: "worker-2", Role: "probe", Since: at.Add(-time.Minute), Why: "no report for 2s"},
			{Pod: "detnet/node-2", Node: "worker-2", Role: "node", Why: "its pod is Pending"},
		},
		Enforcing: &status.Enforcing{Apps: 1, Senders: 2, UsageBps: 85 * bitrate.Mbit, Unlimited: 1, InitialBps: 100 * bitrate.Mbit, Cuts: 1},
		Unstamped: 3, GivingBack: 2,
		Problems:  []status.Problem{{Object: "pod factory/telemetry-upload", Text: "annotation detnet.dev/weight: \"x\" must be a whole number"}},
		Decisions: []status.Decision{{At: at, Reason: hold}, {At: at.Add(-time.Second), Reason: cut, Limits: []status.Limit{{Pod: "factory/telemetry-upload", FromBps: 500 * bitrate.Mbit, ToBps: 89 * bitrate.Mbit}}}},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s differs (%v), got:\n%s", path, err, got)
	}
}

func TestTop(t *testing.T) {
	var out bytes.Buffer
	if err := Top(&out, example()); err != nil {
		t.Fatal(err)
	}
	golden(t, "top.golden", out.Bytes())
}

// Who has labelled nothing yet is told how.
func TestTopOfNothing(t *testing.T) {
	var out bytes.Buffer
	if err := Top(&out, &status.Status{Leader: true, Mode: "enforce", Law: "adaptive", Replica: "detnet-controller-7c9", At: example().At}); err != nil {
		t.Fatal(err)
	}
	golden(t, "nothing.golden", out.Bytes())
}

func TestExplain(t *testing.T) {
	for pod, file := range map[string]string{
		"factory/robot-control":    "app.golden",
		"factory/telemetry-upload": "sender.golden",
		"factory/safety-scanner":   "blind.golden",
		"factory/camera":           "overlimit.golden",
		"factory/backup":           "belowfloor.golden",
	} {
		s := example()
		s.Senders = append(s.Senders, status.Sender{Pod: "factory/backup", Node: "worker-2", Rank: 10, Weight: 1, Mode: "enforce", MinBps: 10 * bitrate.Mbit, MaxBps: bitrate.Gbit, LimitBps: 9_200_000, Known: true})
		e, err := Explain(s, pod)
		if err != nil {
			t.Errorf("%s: %v", pod, err)
			continue
		}
		var out bytes.Buffer
		e.Text(&out)
		golden(t, file, out.Bytes())
	}
	if _, err := Explain(example(), "factory/stranger"); !errors.Is(err, ErrUnknown) {
		t.Errorf("a pod that nobody knows: %v, want %v", err, ErrUnknown)
	}
}

// Who costs the others what is said to both: to the app, and to those who pay.
func TestExplainSaysWhoCostsWhom(t *testing.T) {
	s := example()
	since := s.At.Add(-time.Minute)
	s.Reasons = []status.Reason{{
		Bottleneck: plan.Uplink("worker-2"), Action: plan.Restore, Cause: plan.TooCostly, App: "factory/robot-control", Signal: "jitter",
		MeasuredMs: 8.7, TargetMs: 1, Samples: 13, FromBps: 60 * bitrate.Mbit, ToBps: 60 * bitrate.Mbit,
		For: "factory/robot-control", Since: since, TakenBps: 140_123_456,
	}}
	for _, pod := range []string{"factory/robot-control", "factory/telemetry-upload"} {
		e, err := Explain(s, pod)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		e.Text(&out)
		for _, part := range []string{
			"limiting others for it has cost them as much as it may (laws.adaptive.harm): it is let be for a while",
			"for factory/robot-control, since 10:29:00, 140.1M less is let through than was sent",
		} {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%s: no %q in\n%s", pod, part, out.String())
			}
		}
	}
}

// Who sees a cause on the page or in top finds in the docs what it means, in the words of explain.
func TestCausesAreInTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../../docs/controller.md")
	if err != nil {
		t.Fatal(err)
	}
	for cause, words := range causes {
		if row := fmt.Sprintf("| `%s` | %s |\n", cause, words); !strings.Contains(string(page), row) {
			t.Errorf("docs/controller.md lacks the line %s", row)
		}
	}
}

// A target that no limit of others can keep is called so, with what the idle path shows.
func TestExplainSaysWhatCannotBeMet(t *testing.T) {
	s := &status.Status{
		Apps:    []status.App{{Pod: "factory/robot-control", Node: "worker-2", State: status.Violated, IdleMs: 0.57, Target: status.Measures{JitterMs: 0.2}, Measured: status.Measures{JitterMs: 0.6}}},
		Reasons: []status.Reason{{Bottleneck: plan.Uplink("worker-2"), Action: plan.Hold, Cause: plan.CannotMeet, App: "factory/robot-control", Signal: plan.Jitter, MeasuredMs: 0.57, TargetMs: 0.2}},
	}
	e, err := Explain(s, "factory/robot-control")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	e.Text(&out)
	for _, want := range []string{"its target cannot be met: the idle path shows 0.57 ms", "because a target cannot be met: the idle path shows more"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not said in:\n%s", want, out.String())
		}
	}
}
