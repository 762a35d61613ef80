package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// retired says whether the agent ends because detnet is being removed, and not
// to be replaced. An uninstall deletes the DaemonSet before its pods, and the
// agent's rights soon after, so a refusal means the same as its absence. An API
// server that can't be asked proves nothing: the limits stay.
func retired(config *rest.Config, daemonSet string, log *slog.Logger) bool {
	namespace, name, ok := strings.Cut(daemonSet, "/")
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gone, err := daemonSetGone(ctx, config, namespace, name)
	if err != nil {
		log.Warn("cannot tell whether the agent is being removed: limits stay in force", "error", err)
	}
	return gone
}

func daemonSetGone(ctx context.Context, config *rest.Config, namespace, name string) (bool, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return false, fmt.Errorf("make an API client: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return false, fmt.Errorf("find the API server: %w", err)
	}
	url := base.JoinPath("apis/apps/v1/namespaces", namespace, "daemonsets", name)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url.String(), nil) //nolint:gosec // the address is the API server's, the rest from a flag
	if err != nil {
		return false, err
	}
	response, err := client.Do(request) //nolint:gosec // as above
	if err != nil {
		return false, fmt.Errorf("read DaemonSet %s/%s: %w", namespace, name, err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusNotFound, http.StatusForbidden, http.StatusUnauthorized:
		return true, nil
	case http.StatusOK:
	default:
		return false, fmt.Errorf("read DaemonSet %s/%s: %s", namespace, name, response.Status)
	}
	var object struct {
		Metadata struct{ DeletionTimestamp string }
	}
	if err := json.NewDecoder(response.Body).Decode(&object); err != nil {
		return false, fmt.Errorf("read DaemonSet %s/%s: %w", namespace, name, err)
	}
	return object.Metadata.DeletionTimestamp != "", nil
}
