package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/detnet/detnet/doctor"
)

// The exit code is what scripts and helm test go by.
func TestReportFindings(t *testing.T) {
	well := doctor.Finding{Check: "agents run", Notes: []string{"slowly"}}
	ill := doctor.Finding{Check: "controller leads", Problem: "no replica leads", Advice: "read its log"}

	var text bytes.Buffer
	if err := reportFindings(&text, "text", []doctor.Finding{well}); err != nil || text.String() != "ok       agents run\nnote     slowly\n" {
		t.Errorf("all well: %v\n%s", err, text.String())
	}
	text.Reset()
	err := reportFindings(&text, "text", []doctor.Finding{well, ill})
	if err == nil || err.Error() != "1 of 2 checks found a problem" {
		t.Errorf("one problem: %v", err)
	}
	if want := "ok       agents run\nnote     slowly\nPROBLEM  controller leads: no replica leads\n         read its log\n"; text.String() != want {
		t.Errorf("text:\n%s\nwant:\n%s", text.String(), want)
	}

	var out bytes.Buffer
	if err := reportFindings(&out, "json", []doctor.Finding{well, ill}); err == nil {
		t.Error("a problem in JSON is no error")
	}
	var back []doctor.Finding
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || !reflect.DeepEqual(back, []doctor.Finding{well, ill}) {
		t.Errorf("JSON reads back as %+v, %v", back, err)
	}
}
