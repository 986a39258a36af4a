// What most of RocksDB's files include; `clang++` beside this file compiles it once for all of them.
#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <functional>
#include <iomanip>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "db/db_impl/db_impl.h"
