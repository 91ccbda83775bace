#include "dialect.h"

#define CHUNK_START                                                                                \
    "data: "                                                                                       \
    "{\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion.chunk\","     \
    "\"created\":1764140400,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\","    \
    "\"system_fingerprint\":\"fp_34a54ae93c\","

static const dialect openai = {
    .answer_start = "{\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":"
                    "\"chat.completion\",\"created\":1764140400,"
                    "\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,"
                    "\"message\":{\"role\":\"assistant\",\"content\":\"",
    .answer_end =
        "\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":112,\"completion_tokens\":41,\"total_tokens\":153,"
        "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},\"completion_tokens_"
        "details\":"
        "{\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_prediction_tokens\":0,\"rejected_"
        "prediction_tokens\":0}},"
        "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_34a54ae93c\"}",
    .opening = "",
    .first_start =
        CHUNK_START "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"",
    .chunk_start = CHUNK_START "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"",
    .chunk_end = "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
    .ending =
        CHUNK_START "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":"
                    "\"stop\"}]}\n\n" CHUNK_START "\"choices\":[],\"usage\":{\"prompt_tokens\":112,"
                    "\"completion_tokens\":250,\"total_tokens\":362}}\n\n"
                    "data: [DONE]\n\n",
};

#define DELTA_START                                                                                \
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"   \
    "{\"type\":\"text_delta\",\"text\":\""

static const dialect anthropic = {
    .answer_start = "{\"id\":\"msg_01XFDUDYJgAACzvnptvVoYEL\",\"type\":\"message\",\"role\":"
                    "\"assistant\",\"model\":\"claude-sonnet-4-6\",\"content\":[{\"type\":\"text\","
                    "\"text\":\"",
    .answer_end = "\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{"
                  "\"input_tokens\":112,\"cache_creation_input_tokens\":0,"
                  "\"cache_read_input_tokens\":0,\"output_tokens\":41,\"service_tier\":"
                  "\"standard\"}}",
    .opening = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":"
               "\"msg_01XFDUDYJgAACzvnptvVoYEL\",\"type\":\"message\",\"role\":\"assistant\","
               "\"model\":\"claude-sonnet-4-6\",\"content\":[],\"stop_reason\":null,"
               "\"stop_sequence\":null,\"usage\":{\"input_tokens\":112,"
               "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
               "\"output_tokens\":1}}}\n\n"
               "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
               "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    .first_start = DELTA_START,
    .chunk_start = DELTA_START,
    .chunk_end = "\"}}\n\n",
    .ending = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
              "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
              "\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":250}}\n\n"
              "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
};

#define PART_START "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\""
#define PART_HEAD                                                                                  \
    "\"modelVersion\":\"gemini-2.5-flash\",\"responseId\":\"mNnzaJm0C5XZ1PIP0aCL2Ao\"}"

static const dialect google = {
    .answer_start = "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"",
    .answer_end = "\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],"
                  "\"usageMetadata\":{\"promptTokenCount\":112,\"candidatesTokenCount\":41,"
                  "\"totalTokenCount\":153}," PART_HEAD,
    .opening = "",
    .first_start = PART_START,
    .chunk_start = PART_START,
    .chunk_end = "\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":"
                 "112,\"totalTokenCount\":112}," PART_HEAD "\n\n",
    .ending = PART_START "\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],"
                         "\"usageMetadata\":{\"promptTokenCount\":112,\"candidatesTokenCount\":250,"
                         "\"totalTokenCount\":362}," PART_HEAD "\n\n",
};

#define GOOGLES_PATH GW_STR("/v1beta/models/")

const dialect *dialect_of_path(gw_str path)
{
    if (gw_str_starts_with(path, GOOGLES_PATH))
        return &google;
    return gw_str_eq_c(path, "/v1/messages") ? &anthropic : &openai;
}

gw_str dialect_model_of_path(gw_str path)
{
    gw_str model;
    if (!gw_str_starts_with(path, GOOGLES_PATH))
        return GW_STR("");
    path = gw_str_slice(path, GOOGLES_PATH.len, path.len);
    return gw_str_split(&path, ':', &model) ? model : GW_STR("");
}
