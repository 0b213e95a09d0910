// tests/sim/sim_client.h — clients of the simulated server: some follow a session's log, one of
// each session prompts, and all remember what they were told.
#pragma once

#include <berth/core/prng.h>
#include <berth/core/sse.h>
#include <berth/core/stop.h>
#include <berth/io/http_client.h>
#include <berth/io/sim_reactor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::sim_test {

/// Where the server is and how it is spoken to.
struct Door {
  io::SimReactor& reactor;
  io::HttpOrigin origin;
  std::string token;
};

/// A session as its clients know it.
struct SessionStory {
  struct Prompt {
    std::string key;   ///< Idempotency-Key, unique in the session.
    std::string text;  ///< Ends in the key.
    std::string turn;  ///< Empty until a 2xx gave it.
    std::int64_t number = 0;
    std::vector<std::string> edits;  ///< What a 2xx said it was changed to.
  };

  std::string id;
  std::string open_body;                       ///< What POST /v1/sessions is given.
  std::vector<Prompt> prompts;                 ///< Every prompt that was sent.
  std::map<std::string, std::string> endings;  ///< Turn to the ended state that an answer showed.
  std::map<std::string, std::string> answers;  ///< Interaction to the state that a 2xx showed.
  std::map<std::uint64_t, std::string> pages;  ///< Events that JSON pages showed.
  std::uint64_t filled_in = 0;                 ///< Forms whose answer was taken.
  std::uint64_t sent_now = 0;
  std::uint64_t revived = 0;
  std::uint64_t given_up = 0;   ///< Last prompts whose agent was wedged by another session.
  std::uint64_t first_seq = 0;  ///< Where the log began, as an answer showed last.
  std::uint64_t last_seq = 0;   ///< The highest that an answer showed.
  std::string wrong;            ///< The first answer that contradicts another one or the documents.
};

/// Follows a session's log with Last-Event-ID over all that happens to its connection, which it
/// also cuts itself now and then. Outlives run().
class Follower final : private SseSink {
 public:
  Follower(const Door& door, std::string session, std::uint64_t seed);

  Task<void> run(StopToken stop);

  /// The frames that were shown so far, as they are stored.
  const std::string& copy() const { return copy_; }
  /// What it was told is not kept any more: from the first event to the last one.
  struct Gap {
    std::uint64_t from;
    std::uint64_t to;
  };
  const std::vector<Gap>& gaps() const { return gaps_; }
  std::uint64_t last_seq() const { return last_seq_; }
  int connections() const { return connections_; }
  const std::string& wrong() const { return wrong_; }

 private:
  void on_event(const SseEvent& event) override;
  Task<void> follow_once(StopToken cut);

  const Door& door_;
  std::string session_;
  Prng random_;
  std::unique_ptr<io::HttpClient> client_;
  bool cuts_;  // whether it cuts itself off
  bool slow_;  // whether it takes its time
  std::string copy_;
  std::vector<Gap> gaps_;
  std::uint64_t last_seq_ = 0;
  int connections_ = 0;
  std::string wrong_;
};

/// Opens the session, prompts, waits, cancels, answers, kills, looks; repeats what got no answer.
/// Once `finish()` was called it settles what is open and ends with a prompt that must complete.
class Driver {
 public:
  /// `actions_max`: what it does before finish() at most.
  Driver(const Door& door, SessionStory& story, std::uint64_t seed, std::uint64_t actions_max);

  Task<void> run(StopToken stop);
  void finish() { finishing_ = true; }
  bool done() const { return done_; }

 private:
  using Answer = std::optional<io::HttpClientResponse>;

  Task<Answer> call(std::string method, std::string path, std::string body, HttpHeaders headers);
  Task<bool> call_until_taken(std::string method, std::string path, std::string body,
                              HttpHeaders headers, std::string done_code = {});
  Task<void> sleep(Duration most);
  Task<void> open();
  Task<void> prompt(std::string text, bool wait);
  Task<void> do_something();
  Task<void> change_queue();
  Task<void> edit(std::string turn);
  Task<void> close_and_revive();
  Task<void> look_at_turn();
  Task<void> read_pages();
  Task<void> answer_questions();
  Task<void> decide(bool to_the_end);
  Task<void> settle();
  std::string make_prompt();
  void note_turn(const std::string& turn_json);
  void wrong(std::string what);

  const Door& door_;
  SessionStory& story_;
  Prng random_;
  std::unique_ptr<io::HttpClient> client_;
  StopToken stop_;
  io::HttpClientResponse taken_;  // by the last call_until_taken()
  std::uint64_t actions_left_;
  int edits_ = 0;
  bool finishing_ = false;
  bool done_ = false;
};

}  // namespace berth::sim_test
