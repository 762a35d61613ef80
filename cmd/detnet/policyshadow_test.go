package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/detnet/detnet/policies/live"
	"github.com/detnet/detnet/policies/trial"
)

func shadowOf(s live.ShadowStatus) live.Status { return live.Status{Hash: "old", Shadow: &s} }

func TestShadowsAddUp(t *testing.T) {
	upload := trial.Difference{Source: "shop/upload-", Changes: []trial.Change{{Field: "bandwidth.max", From: "1G", To: "500M"}}}
	sum, err := addShadows(map[string]live.Status{
		"a": shadowOf(live.ShadowStatus{Hash: "new", Pods: 10, Changed: 3, Failed: 1, Fields: map[string]int{"bandwidth.max": 3}, Examples: []trial.Difference{upload}}),
		"b": shadowOf(live.ShadowStatus{Hash: "new", Pods: 5, Changed: 2, Skipped: 4, Fields: map[string]int{"bandwidth.max": 1, "class": 1}, Examples: []trial.Difference{upload}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	printShadowed(&out, sum)
	want := `candidate new beside policy old on 2 replicas
shop/upload-
  bandwidth.max: "1G" -> "500M"
5 of 15 pods would change, 1 could not be decided, 4 were not compared
  bandwidth.max: 4
  class: 1
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}

func TestShadowsThatDoNotAddUp(t *testing.T) {
	if _, err := addShadows(map[string]live.Status{"a": {Hash: "old"}}); !errors.Is(err, errNoShadow) {
		t.Errorf("without a candidate: %v", err)
	}
	for want, status := range map[string]live.ShadowStatus{
		"change is under way": {Hash: "newer"},
		"site.rego:3":         {Hash: "new", LastError: "site.rego:3: no"},
	} {
		_, err := addShadows(map[string]live.Status{"a": shadowOf(live.ShadowStatus{Hash: "new"}), "b": shadowOf(status)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one that says %q", err, want)
		}
	}
	dir := policyDir(t, "site.yaml", "defaults: {unlabelled: standard}\n")
	if err := isCandidate(dir, "another"); err == nil {
		t.Error("another candidate than the one in the directory is taken for it")
	}
	if set, err := policySet(dir); err != nil || isCandidate(dir, set.Hash()) != nil {
		t.Error("the candidate of the directory is not known", err)
	}
}
