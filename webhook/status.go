package webhook

import (
	"encoding/json"
	"net/http"

	"github.com/detnet/detnet/policies/live"
)

// StatusHandler answers GET with the policy in force as JSON.
func StatusHandler(status func() live.Status) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			http.Error(w, "want GET", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"policy": status()})
	})
}
