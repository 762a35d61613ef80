package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/detnet/detnet/agent/kube"
)

// retired says whether the agent ends because detnet is being removed, and not
// to be replaced. An uninstall deletes the DaemonSet before its pods, and the
// agent's rights soon after, so a refusal means the same as its absence. An API
// server that can't be asked proves nothing: the limits stay.
func retired(client *kube.Client, daemonSet string, log *slog.Logger) bool {
	namespace, name, ok := strings.Cut(daemonSet, "/")
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gone, err := daemonSetGone(ctx, client, namespace, name)
	if err != nil {
		log.Warn("cannot tell whether the agent is being removed: limits stay in force", "error", err)
	}
	return gone
}

func daemonSetGone(ctx context.Context, client *kube.Client, namespace, name string) (bool, error) {
	body, err := client.Get(ctx, "/apis/apps/v1/namespaces/"+namespace+"/daemonsets/"+name, nil)
	var refused *kube.StatusError
	if errors.As(err, &refused) {
		switch refused.Code {
		case http.StatusNotFound, http.StatusForbidden, http.StatusUnauthorized:
			return true, nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("read DaemonSet %s/%s: %w", namespace, name, err)
	}
	defer body.Close()
	var object struct {
		Metadata struct{ DeletionTimestamp string }
	}
	if err := json.NewDecoder(body).Decode(&object); err != nil {
		return false, fmt.Errorf("read DaemonSet %s/%s: %w", namespace, name, err)
	}
	return object.Metadata.DeletionTimestamp != "", nil
}
