package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

const index = "messages_and_their_ciphers"

// messages are in an index of Elasticsearch.
type messages struct {
	elasticsearch string
	client        http.Client
}

func (m *messages) plain(ctx context.Context, id string) (string, error) {
	var found struct {
		Source struct {
			Plain string `json:"plain"`
		} `json:"_source"`
	}
	path := fmt.Sprintf("/%s/_doc/%s", index, url.PathEscape(id))
	err := m.ask(ctx, http.MethodGet, path, nil, &found)
	return found.Source.Plain, err
}

// write adds a result to a message; it may be repeated.
func (m *messages) write(ctx context.Context, id, field, ciphered string) error {
	change := map[string]any{"doc": map[string]any{
		field:         ciphered,
		"modified_at": time.Now().UTC().Format(time.RFC3339Nano),
	}}
	// Four workers may write to one message at once.
	path := fmt.Sprintf("/%s/_update/%s?retry_on_conflict=100", index, url.PathEscape(id))
	return m.ask(ctx, http.MethodPost, path, change, nil)
}

func (m *messages) ask(ctx context.Context, method, path string, body, found any) error {
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, m.elasticsearch+path, &content)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := m.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s", method, path, answer.Status)
	}
	if found == nil {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(found)
}
