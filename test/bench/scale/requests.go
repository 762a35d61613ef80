package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// requests counts what the API server was asked, but for what it asks itself of its own
// and what is watched: in all, and of leases.
func (c *cluster) requests(ctx context.Context) (all, leases float64, err error) {
	text, err := c.client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("read the API server's metrics: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return 0, 0, fmt.Errorf("read the API server's metrics: %w", err)
	}
	for _, m := range families["apiserver_request_total"].GetMetric() {
		of := map[string]string{}
		for _, l := range m.GetLabel() {
			of[l.GetName()] = l.GetValue()
		}
		if of["resource"] == "" || of["verb"] == "WATCH" {
			continue
		}
		all += m.GetCounter().GetValue()
		if of["resource"] == "leases" {
			leases += m.GetCounter().GetValue()
		}
	}
	return all, leases, nil
}
