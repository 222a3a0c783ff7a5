package server

import "net/http"

// Listen is the server of the world's listener, for tests that bring connections of
// their own.
func (s *Server) Listen() *http.Server { return s.listen(s.Handler()) }

// The limits of a connection.
const (
	HeaderTimeout = headerTimeout
	ReadTimeout   = readTimeout
	WriteTimeout  = writeTimeout
)
