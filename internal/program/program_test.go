package program

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type sample struct {
	mode   string
	check  error
	served int
	fails  error
}

func (s *sample) Flags(f *flag.FlagSet) {
	f.StringVar(&s.mode, "mode", "enforce", "enforce or observe")
}
func (s *sample) Check() error { return s.check }

func (s *sample) Serve(context.Context, *slog.Logger) error {
	s.served++
	return s.fails
}

// A program that starts does what all of its arguments say, or does not start.
func TestRun(t *testing.T) {
	for _, tt := range []struct {
		args   string
		p      sample
		code   int
		served int
	}{
		{"", sample{}, 0, 1},
		{"--mode=observe --log-level=debug --log-format=text", sample{}, 0, 1},
		{"", sample{fails: errors.New("broken")}, 1, 1},
		{"-h", sample{}, 0, 0},
		{"--help", sample{}, 0, 0},
		{"--mode=observe -h", sample{}, 0, 0},
		{"WORD --mode=observe", sample{}, 2, 0},
		{"--mode observe extra", sample{}, 2, 0},
		{"-- --mode=observe", sample{}, 2, 0},
		{"--no-such-flag", sample{}, 2, 0},
		{"--log-level=loud", sample{}, 2, 0},
		{"--log-format=xml", sample{}, 2, 0},
		{"", sample{check: errors.New("modes exclude each other")}, 2, 0},
	} {
		if code := Run("sample", strings.Fields(tt.args), &tt.p); code != tt.code || tt.p.served != tt.served {
			t.Errorf("%q: exit code %d, served %d times; want %d and %d", tt.args, code, tt.p.served, tt.code, tt.served)
		}
	}
}

// The message names what is wrong; help names the flags and is no error's.
func TestParse(t *testing.T) {
	var help bytes.Buffer
	if _, err := Parse("sample", []string{"word", "--mode=observe"}, &sample{}, &help); err == nil || !strings.Contains(err.Error(), `"word" is no flag`) {
		t.Errorf("left over: %v", err)
	}
	if help.Len() > 0 {
		t.Errorf("help without a request: %s", help.String())
	}
	_, err := Parse("sample", []string{"-h"}, &sample{}, &help)
	if !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "-mode") || !strings.Contains(help.String(), "-log-level") {
		t.Errorf("%v, %s", err, help.String())
	}
}

// Whoever has something logged has a few thousand octets of it, and not as many as they like.
func TestLongTextsAreCut(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		log, err := logFlags{format: format}.logger(&out)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Repeat("é", 1<<20)
		log.With("with", text).Error("first", "err", errors.New(text), "namespace", text, "short", "kept")
		if n := out.Len(); n > 8*longest || !strings.Contains(out.String(), "octets more") || !strings.Contains(out.String(), "kept") {
			t.Errorf("%s: a line of %d octets: %.200s", format, n, out.String())
		}
	}
}

// wrapped is an error that panics where it is nil.
type wrapped struct{ error }

// An error that can't be told is logged all the same, and ends no program.
func TestAnErrorThatPanicsIsLogged(t *testing.T) {
	var out bytes.Buffer
	log, err := logFlags{format: "json"}.logger(&out)
	if err != nil {
		t.Fatal(err)
	}
	log.Error("failed", "err", (*wrapped)(nil))
	if !strings.Contains(out.String(), `"msg":"failed"`) {
		t.Errorf("the log has %q", out.String())
	}
}

// Whoever has the same logged over and over is told of now and then, and how often; others
// are told of all the same.
func TestSparing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := Sparing(slog.New(slog.NewTextHandler(&out, nil)))
		for range 1000 {
			log.With("from", "a stranger").Warn("refused")
		}
		log.Warn("another")
		if n := strings.Count(out.String(), "msg=refused"); n != sparingBurst || !strings.Contains(out.String(), "msg=another") {
			t.Errorf("%d lines of 1,000 at once", n)
		}
		time.Sleep(time.Minute)
		out.Reset()
		log.Warn("refused")
		if !strings.Contains(out.String(), "left_out=950") {
			t.Errorf("of those left out is told: %s", out.String())
		}
	})
}

// Errors have one key, whoever logs them.
func TestErrorKey(t *testing.T) {
	var out bytes.Buffer
	log, err := logFlags{format: "json"}.logger(&out)
	if err != nil {
		t.Fatal(err)
	}
	log.Error("first", "error", io.EOF)
	log.Error("second", "err", io.EOF)
	if n := strings.Count(out.String(), `"err":"EOF"`); n != 2 {
		t.Errorf("%d of 2 errors under err:\n%s", n, out.String())
	}
}
