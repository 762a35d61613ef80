package report

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/probe/stamp"
)

// schema is as much of JSON Schema as docs/reference/probe.schema.json uses.
type schema struct {
	Type       any                `json:"type"`
	Ref        string             `json:"$ref"`
	AnyOf      []*schema          `json:"anyOf"`
	Enum       []any              `json:"enum"`
	Required   []string           `json:"required"`
	Properties map[string]*schema `json:"properties"`
	Additional any                `json:"additionalProperties"`
	Defs       map[string]*schema `json:"$defs"`
}

func (s *schema) check(root *schema, path string, v any) error {
	if s.Ref != "" {
		return root.Defs["quantiles"].check(root, path, v)
	}
	if len(s.AnyOf) > 0 {
		var err error
		for _, each := range s.AnyOf {
			if err = each.check(root, path, v); err == nil {
				return nil
			}
		}
		return err
	}
	types, ok := s.Type.([]any)
	if !ok {
		types = []any{s.Type}
	}
	if !slices.ContainsFunc(types, func(t any) bool { return isType(t, v) }) {
		return fmt.Errorf("%s: %v is no %v", path, v, types)
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		return fmt.Errorf("%s: %v is not among %v", path, v, s.Enum)
	}
	object, _ := v.(map[string]any)
	for _, key := range s.Required {
		if _, ok := object[key]; !ok {
			return fmt.Errorf("%s lacks %s", path, key)
		}
	}
	for key, value := range object {
		switch known := s.Properties[key]; {
		case known != nil:
			if err := known.check(root, path+"."+key, value); err != nil {
				return err
			}
		case s.Additional == false:
			return fmt.Errorf("%s.%s is not described", path, key)
		}
	}
	return nil
}

func isType(t, v any) bool {
	switch v := v.(type) {
	case nil:
		return t == "null"
	case bool:
		return t == "boolean"
	case string:
		return t == "string"
	case map[string]any:
		return t == "object"
	case float64:
		return t == "number" || t == "integer" && v == float64(int64(v))
	}
	return false
}

// What detnet probe -o json writes is what the reference describes, full or
// empty; and what is not known is null, with the reason.
func TestSchema(t *testing.T) {
	text, err := os.ReadFile("../../../docs/reference/probe.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var root schema
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	full := sampleReport()
	full.From, full.To = time.Now(), time.Now()
	full.Session.Local = netip.MustParseAddrPort("10.0.0.9:5000")
	full.TTLThere, full.TTLBack, full.Err = 60, 61, os.ErrClosed
	full.Heard = probe.Heard{HasCoS: true, HasDirect: true, Direct: stamp.Direct{SenderTx: 1, ReflectorRx: 1, ReflectorTx: 1}, Answers: 1}
	empty := Report{Result: probe.Result{Session: probe.Session{Protocol: "icmp", Host: "h", Interval: time.Second}, Totals: probe.Totals{Sent: 3, Lost: 3}}}
	for name, r := range map[string]Report{"full": full, "empty": empty, "nothing sent": {Result: probe.Result{Session: empty.Session}}} {
		encoded, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(encoded, &got); err != nil {
			t.Fatal(err)
		}
		if err := root.check(&root, name, got); err != nil {
			t.Errorf("%v", err)
		}
		for _, key := range []string{"rtt", "pdv", "base_ms", "mean_ms", "rfc3550_jitter_ms", "iqr_ms", "direction", "forward", "timestamps"} {
			if (got[key] == nil) != (name != "full") {
				t.Errorf("%s: %s is %v", name, key, got[key])
			}
		}
		missing := got["missing"].(map[string]any)
		if why := map[string]any{"full": nil, "empty": "no packet was answered", "nothing sent": "no packet was sent"}[name]; missing["rtt"] != why {
			t.Errorf("%s: missing because of %v, want %v", name, missing["rtt"], why)
		}
	}
}

// A rate that the machine cannot keep is said.
func TestRateIsSaid(t *testing.T) {
	for _, tt := range []struct {
		asked, achieved float64
		sent            uint64
		blind           time.Duration
		kept            bool
	}{
		{1000, 995, 10000, 0, true}, {1000, 120, 1200, 0, false}, {1000, 970, 100000, 0, false},
		{1000, 120, 1200, time.Second, true}, {50, 46, 20, 0, true}, {50, 0, 1, 0, true},
	} {
		r := Report{Result: probe.Result{
			Session: probe.Session{Interval: time.Duration(float64(time.Second) / tt.asked)},
			Totals:  probe.Totals{Sent: tt.sent}, Blind: tt.blind,
		}}
		if tt.achieved > 0 {
			r.Sending = time.Duration(float64(tt.sent-1) / tt.achieved * float64(time.Second))
		}
		if r.Kept() != tt.kept {
			t.Errorf("%+v: kept %v", tt, r.Kept())
		}
	}
}

// Loss is of packets whose fate is known; those in flight are told apart.
func TestLossRatio(t *testing.T) {
	for totals, want := range map[probe.Totals]float64{
		{Sent: 100, Received: 40, Lost: 10}: 0.2,
		{Sent: 40, Lost: 40}:                1,
		{Sent: 40}:                          -1,
	} {
		loss, known := totals.Loss()
		if known != (want >= 0) || known && loss != want {
			t.Errorf("%+v: %v, %v", totals, loss, known)
		}
	}
}
