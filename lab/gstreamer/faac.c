/* LiveKit's egress encodes sound with the GStreamer element "faac", which Debian does not ship. This one has its name and
 * its property, and leaves the work to "voaacenc", which Debian does ship. */
#include <gst/gst.h>

typedef struct {
  GstBin parent;
  GstElement *encoder;
} Faac;
typedef GstBinClass FaacClass;
G_DEFINE_TYPE(Faac, faac, GST_TYPE_BIN)

enum { BITRATE = 1 };

static GstStaticPadTemplate sink = GST_STATIC_PAD_TEMPLATE(
    "sink", GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS("audio/x-raw, format=S16LE, layout=interleaved, rate=[8000,96000], channels=[1,2]"));
static GstStaticPadTemplate src = GST_STATIC_PAD_TEMPLATE(
    "src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS("audio/mpeg, mpegversion=4, stream-format={raw,adts}"));

static void set_property(GObject *object, guint property, const GValue *value, GParamSpec *specification) {
  Faac *self = (Faac *)object;
  if (property != BITRATE)
    G_OBJECT_WARN_INVALID_PROPERTY_ID(object, property, specification);
  else if (self->encoder)
    g_object_set_property(G_OBJECT(self->encoder), "bitrate", value);
}

static void add_pad(Faac *self, const char *name, GstStaticPadTemplate *outer) {
  GstPad *inner = gst_element_get_static_pad(self->encoder, name);
  GstPadTemplate *template = gst_static_pad_template_get(outer);
  gst_element_add_pad(GST_ELEMENT(self), gst_ghost_pad_new_from_template(name, inner, template));
  gst_object_unref(template);
  gst_object_unref(inner);
}

/* Without the encoder it has no pads, so that linking it fails at once. */
static void faac_init(Faac *self) {
  self->encoder = gst_element_factory_make("voaacenc", NULL);
  if (!self->encoder) return;
  gst_bin_add(GST_BIN(self), self->encoder);
  add_pad(self, "sink", &sink);
  add_pad(self, "src", &src);
}

static void faac_class_init(FaacClass *class) {
  GstElementClass *element = GST_ELEMENT_CLASS(class);
  G_OBJECT_CLASS(class)->set_property = set_property;
  g_object_class_install_property(
      G_OBJECT_CLASS(class), BITRATE,
      g_param_spec_int("bitrate", "Bitrate", "Bits per second", 0, 320000, 128000, G_PARAM_WRITABLE | G_PARAM_STATIC_STRINGS));
  gst_element_class_add_static_pad_template(element, &sink);
  gst_element_class_add_static_pad_template(element, &src);
  gst_element_class_set_static_metadata(element, "AAC encoder", "Codec/Encoder/Audio", "voaacenc as faac",
                                        "The MemorialStream authors");
}

static gboolean plugin_init(GstPlugin *plugin) {
  return gst_element_register(plugin, "faac", GST_RANK_NONE, faac_get_type());
}

#define PACKAGE "memorialstream-lab"
GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, memorialstreamfaac, "voaacenc as faac", plugin_init, "1.0",
                  GST_LICENSE_UNKNOWN, PACKAGE, PACKAGE)
