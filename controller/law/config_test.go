package law

import (
	"math"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/adaptive"
)

func TestConfigIsReadFromYAML(t *testing.T) {
	cfg := DefaultConfig()
	text := "adaptive:\n  window: 300ms\n  settle: 0.95\n  blind: assume\naimd:\n  increase: 20M\n"
	if err := yaml.Unmarshal([]byte(text), &cfg); err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.Adaptive.Sense.Window, want.Adaptive.Budget.Settle, want.Adaptive.Blind = 300*time.Millisecond, 0.95, adaptive.BlindAssume
	want.AIMD.Increase = 20 * bitrate.Mbit
	if cfg != want {
		t.Errorf("read %+v", cfg)
	}
	if err := yaml.Unmarshal([]byte("aimd:\n  increase: lots\n"), &cfg); err == nil {
		t.Error("an unreadable rate was read")
	}
	out, err := yaml.Marshal(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	back := Config{}
	back.Adaptive.Limits.Writes = DefaultConfig().Adaptive.Limits.Writes // not of the file's laws
	if err := yaml.Unmarshal(out, &back); err != nil || back != DefaultConfig() {
		t.Errorf("the defaults don't read back: %v\n%s", err, out)
	}
}

func TestValidateNamesThePathAndTheRange(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for want, change := range map[string]func(*Config){
		"adaptive.window: 1ms must be from 20ms to 10s":            func(c *Config) { c.Adaptive.Sense.Window = time.Millisecond },
		"adaptive.soft: NaN must be from 0.05 to 1":                func(c *Config) { c.Adaptive.Sense.Soft = math.NaN() },
		"adaptive.maxBackoff: 1s must be from 1m0s to 24h0m0s":     func(c *Config) { c.Adaptive.Blame.MaxBackoff = time.Second },
		"adaptive.harmWindow: 1m0s must be from 2m0s to 168h0m0s":  func(c *Config) { c.Adaptive.Blame.HarmWindow = time.Minute },
		`adaptive.blind: "guess" must be hold, assume or decrease`: func(c *Config) { c.Adaptive.Blind = "guess" },
		"aimd.window: 4 must be from 5 to 1000":                    func(c *Config) { c.AIMD.Window = 4 },
		"aimd.max: 5M must be from 10M to 400G":                    func(c *Config) { c.AIMD.Max = 5 * bitrate.Mbit },
		"step.interval: 0s must be from 100ms to 1h0m0s":           func(c *Config) { c.Step.Interval = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
