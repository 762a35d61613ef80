package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/stage"
	"github.com/detnet/detnet/workload"
)

// measures: beside every app its node session, probes with the codepoint that was
// asked for, and a reason where nothing is measured.
func (w *world) measures(t *testing.T) {
	ctx := t.Context()
	asks := map[string]map[string]string{
		"marked":  {workload.AnnotationProbe: "udp:5201", workload.AnnotationDSCP: "ef"},
		"queried": {workload.AnnotationProbe: "prometheus", workload.AnnotationQuery: "max(rate(delay_seconds[60s]))"},
	}
	for name, annotations := range asks {
		annotations[workload.AnnotationMaxJitter] = "10ms"
		pod := simplePod(name, "critical", annotations)
		pod.Spec.TerminationGracePeriodSeconds = new(int64)
		if _, err := w.Client.CoreV1().Pods(stage.Factory).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	stage.Eventually(t, "see everything measured as asked", func() error {
		s, err := install.Status(ctx, w.Cluster)
		if err != nil {
			return err
		}
		if len(s.Apps) != 4 {
			return fmt.Errorf("%d apps, want 4", len(s.Apps))
		}
		for _, app := range s.Apps {
			if err := asAsked(app); err != nil {
				return fmt.Errorf("%s: %w; status %+v", app.Pod, err, app)
			}
		}
		return nil
	})
	for name := range asks {
		if err := w.Client.CoreV1().Pods(stage.Factory).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
	w.AwaitMeasured(t)
}

func asAsked(app status.App) error {
	if app.Pod == stage.Factory+"/queried" {
		if app.State != status.Blind || len(app.Sessions) != 1 || !strings.Contains(app.Sessions[0].Error, "set prometheus.url") {
			return fmt.Errorf("want it blind, because nobody said where Prometheus is")
		}
		return nil
	}
	want, mark := "DF", ""
	if app.Pod == stage.Factory+"/marked" {
		want, mark = "EF", " EF"
	}
	unseen := slices.ContainsFunc(app.Sessions, func(s status.Session) bool {
		return s.Blind || s.NodeSession == nil || s.NodeSession.Blind || !strings.HasSuffix(s.ID, mark) || !strings.HasSuffix(s.NodeSession.ID, mark)
	})
	if app.DSCP != want || len(app.Sessions) == 0 || unseen {
		return fmt.Errorf("want codepoint %s, and a node session that sees beside every session", want)
	}
	return nil
}
