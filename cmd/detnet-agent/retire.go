package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/detnet/detnet/agent/kube"
)

// retired says whether the agent ends because detnet is being removed, and not
// to be replaced. An uninstall deletes the DaemonSet before its pods, and the
// agent's rights soon after, so a refusal means the same as its absence. Where
// the whole namespace is deleted, pods may go before their DaemonSet: then the
// namespace says so. An API server that can't be asked proves nothing: the
// limits stay.
func retired(client *kube.Client, daemonSet string, log *slog.Logger) bool {
	namespace, name, ok := strings.Cut(daemonSet, "/")
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gone, err := isGone(ctx, client, "/apis/apps/v1/namespaces/"+namespace+"/daemonsets/"+name, http.StatusNotFound, http.StatusForbidden, http.StatusUnauthorized)
	if err == nil && !gone {
		// A right to read it that is missing proves nothing.
		gone, err = isGone(ctx, client, "/api/v1/namespaces/"+namespace, http.StatusNotFound, http.StatusUnauthorized)
	}
	if err != nil {
		log.Warn("cannot tell whether the agent is being removed: limits stay in force", "err", err)
	}
	return gone
}

// isGone reports whether an object is being deleted, or asking for it is refused
// with one of codes.
func isGone(ctx context.Context, client *kube.Client, path string, codes ...int) (bool, error) {
	body, err := client.Get(ctx, path, nil)
	var refused *kube.StatusError
	if errors.As(err, &refused) && slices.Contains(codes, refused.Code) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	defer body.Close()
	var object struct {
		Metadata struct{ DeletionTimestamp string }
	}
	if err := json.NewDecoder(body).Decode(&object); err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	return object.Metadata.DeletionTimestamp != "", nil
}
