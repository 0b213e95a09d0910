// server/cli/patient.h — requests that are made again until the server, which may be starting anew,
// answers them.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/server/cli/remote.h>

#include <optional>
#include <string>

namespace berth::server {

/// Requests over one client, for coroutines of Remote::run_task(). Only for requests that may be
/// repeated: what was sent and not answered is sent again. Await close() at the end.
class PatientClient {
 public:
  struct Patience {
    Duration unreachable_max = std::chrono::seconds(120);  ///< Without an answer, in a row.
    Duration answer_max = std::chrono::seconds(120);       ///< For one answer.
  };
  PatientClient(Remote& remote, Patience patience)
      : remote_(remote), patience_(patience), client_(remote.connect()) {}

  struct Request {
    std::string method = "GET";
    std::string target;
    std::string body;
    HttpHeaders headers;
    Duration answer_max = Duration::zero();  ///< Zero: that of the patience.
  };
  /// Any answer but 429, 502, 503 and 504, whatever its status. Errors: the last one when the
  /// patience is over, `cancelled` when `stop` was asked.
  Task<Result<RemoteAnswer>> ask(Request request, StopToken stop);

  Task<void> close() { return client_->close(); }

 private:
  Remote& remote_;
  Patience patience_;
  std::unique_ptr<io::HttpClient> client_;
};

/// What a refusal says: `detail [status code]`, free of control characters.
std::string refusal_text(const io::HttpClientResponse& response);

}  // namespace berth::server
