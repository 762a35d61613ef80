package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/restore"
)

func newRestoreCommand() *cobra.Command {
	var namespace, output string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Put the limits that pods were admitted with back",
		Long: `Put the limits that pods were admitted with back.

A controller that enforces moves them again: set its mode to observe or off first.
Where detnet guards its annotations, this takes an identity that the guard trusts,
such as the group system:masters.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("--output %q: want text or json", output)
			}
			client, err := connect()
			if err != nil {
				return err
			}
			report := func(c restore.Change) {
				if output == "json" {
					// A write that fails here fails for the next pod too, and
					// must not keep it from being restored.
					_ = json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{"pod": c.Pod.String(), "from": c.From, "to": c.To})
					return
				}
				fmt.Fprintf(cmd.OutOrStdout(), "pod %s: %s → %s\n", c.Pod, c.From, c.To)
			}
			changes, unreadable := restore.Find(cmd.Context(), client.CoreV1(), namespace)
			if dryRun {
				for _, c := range changes {
					report(c)
				}
				return unreadable
			}
			if err := restore.Apply(cmd.Context(), actuate.Pods{Client: client.CoreV1()}, changes, report); err != nil {
				return err
			}
			return unreadable
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace; default all")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would change")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}
