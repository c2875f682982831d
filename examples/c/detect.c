/* Detections and tracks in a C program, with the headers of GStreamer and nothing of this plugin: what was found on a
 * frame lies on it, a region of interest for each object.
 *
 *   cc -Wall -Wextra -Werror examples/c/detect.c -o target/detect-c $(pkg-config --cflags --libs gstreamer-video-1.0)
 *   ./dev run target/detect-c models/nanodet-g-320.onnx CLIP
 */

#include <gst/gst.h>
#include <gst/video/video.h>

/* A region as a line of text. Any of its structures may be missing, and any of their fields. */
static void
print_region (guint64 frame, GstVideoRegionOfInterestMeta * region)
{
  GstStructure *detection =
      gst_video_region_of_interest_meta_get_param (region, "detection");
  GstStructure *track =
      gst_video_region_of_interest_meta_get_param (region, "object_id");
  gdouble confidence;
  gint id;

  g_print ("frame %" G_GUINT64_FORMAT ": %s", frame,
      g_quark_to_string (region->roi_type));
  if (detection && gst_structure_get_double (detection, "confidence",
          &confidence))
    g_print (" %.2f", confidence);
  if (track && gst_structure_get_int (track, "id", &id)) {
    const gchar *state = gst_structure_get_string (track, "state");
    g_print (" #%d %s", id, state ? state : "?");
  }
  g_print (" at %u,%u %ux%u\n", region->x, region->y, region->w, region->h);
}

/* Called for each frame, on the thread that brings it. */
static void
on_frame (GstElement * sink, GstBuffer * buffer, GstPad * pad, gpointer data)
{
  GstCustomMeta *facts = gst_buffer_get_custom_meta (buffer, "nv-frame");
  guint64 seq = 0;
  gpointer state = NULL;
  GstMeta *meta;

  (void) sink;
  (void) pad;
  (void) data;
  if (facts)
    gst_structure_get_uint64 (gst_custom_meta_get_structure (facts), "seq",
        &seq);
  while ((meta = gst_buffer_iterate_meta_filtered (buffer, &state,
              GST_VIDEO_REGION_OF_INTEREST_META_API_TYPE)))
    print_region (seq, (GstVideoRegionOfInterestMeta *) meta);
}

static void
set_text (GstElement * pipeline, const gchar * name, const gchar * property,
    const gchar * value)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), name);

  g_object_set (element, property, value, NULL);
  gst_object_unref (element);
}

/* Plays to the end; FALSE, and the reason on standard error, if that fails. */
static gboolean
play (GstElement * pipeline)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;
  gboolean well;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (bus, GST_CLOCK_TIME_NONE,
      GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  well = GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS;
  if (!well) {
    GError *error;

    gst_message_parse_error (message, &error, NULL);
    g_printerr ("%s: %s\n", GST_MESSAGE_SRC_NAME (message), error->message);
    g_error_free (error);
  }
  gst_message_unref (message);
  gst_object_unref (bus);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  return well;
}

int
main (int argc, char **argv)
{
  GstElement *pipeline, *sink;
  GError *error = NULL;
  gboolean well;

  gst_init (&argc, &argv);
  if (argc != 3) {
    g_printerr ("usage: %s MODEL CLIP\n", argv[0]);
    return 2;
  }
  pipeline = gst_parse_launch_full ("filesrc name=file ! decodebin "
      "! nvinference name=inference ! nvtrack "
      "! fakesink name=sink signal-handoffs=true", NULL,
      GST_PARSE_FLAG_FATAL_ERRORS, &error);
  if (!pipeline) {
    g_printerr ("%s\n", error->message);
    g_error_free (error);
    return 1;
  }
  set_text (pipeline, "inference", "model", argv[1]);
  set_text (pipeline, "file", "location", argv[2]);
  sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  g_signal_connect (sink, "handoff", G_CALLBACK (on_frame), NULL);
  gst_object_unref (sink);

  well = play (pipeline);
  gst_object_unref (pipeline);
  return well ? 0 : 1;
}
