package main

import (
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/cmd/detnet/text"
	"github.com/detnet/detnet/controller/status"
)

func newExplainCommand() *cobra.Command {
	var from statusSource
	var output string
	cmd := &cobra.Command{
		Use:     "explain NAMESPACE/POD",
		Short:   "Say why a pod's limit or measurement is what it is",
		Example: "  detnet explain factory/telemetry-upload-7d4b9",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pod := strings.TrimPrefix(args[0], "pod/")
			if !strings.Contains(pod, "/") {
				pod = "default/" + pod
			}
			read, err := from.reader(status.Query{Pod: pod})
			if err != nil {
				return err
			}
			s, err := read(cmd.Context())
			if err != nil {
				return err
			}
			e, err := text.Explain(s, pod)
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(e)
			}
			e.Text(text.Plain(cmd.OutOrStdout()))
			return nil
		},
	}
	from.addFlags(cmd)
	cmd.Flags().VarP(format(&output, "text", "json"), "output", "o", "text or json")
	return cmd
}
